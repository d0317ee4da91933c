#!/usr/bin/env node
/**
 * Reads the report of vitest's JSON reporter and prints the skipped tests by name and then, alone on the last line,
 * "N passed, N failed". A file that could not even be collected counts as one failure. Exit code 1 where anything
 * failed or nothing ran.
 *
 * Usage: node scripts/ci/summary.mjs REPORT.json
 */
import fs from "node:fs";
import process from "node:process";

/** Counts of a report: tests passed and failed, and the full names of those that were skipped. */
export function summarize(report) {
  let passed = 0;
  let failed = 0;
  const skipped = [];
  for (const file of report.testResults) {
    const tests = file.assertionResults;
    for (const test of tests) {
      if (test.status === "passed") passed++;
      else if (test.status === "failed") failed++;
      else skipped.push(test.fullName);
    }
    // An error outside of any test: a file that does not load, a hook that throws.
    if (file.status === "failed" && !tests.some((test) => test.status === "failed")) failed++;
  }
  return { passed, failed, skipped };
}

if (import.meta.filename === fs.realpathSync(process.argv[1] ?? "")) {
  let counts;
  try {
    counts = summarize(JSON.parse(fs.readFileSync(process.argv[2] ?? "", "utf8")));
  } catch (error) {
    process.stderr.write(`There is no test report to read: ${error.message}\n`);
    counts = { passed: 0, failed: 1, skipped: [] };
  }
  for (const name of counts.skipped) process.stdout.write(`skipped: ${name}\n`);
  process.stdout.write(`${counts.passed} passed, ${counts.failed} failed\n`);
  process.exit(counts.failed > 0 || counts.passed === 0 ? 1 : 0);
}
