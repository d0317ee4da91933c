#!/usr/bin/env node
/**
 * Reads reports of vitest's JSON reporter and prints the skipped tests by name and then, alone on the last line,
 * "N passed, N failed". A file that could not even be collected counts as one failure,
 * and so does a run that vitest calls unsuccessful though no test failed. Exit code 1
 * where anything failed or nothing ran.
 *
 * Usage: node scripts/ci/summary.mjs REPORT.json...
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
  // An error outside of any file: a worker that died, a promise that nobody waited for.
  if (!report.success && failed === 0) failed++;
  return { passed, failed, skipped };
}

if (import.meta.filename === fs.realpathSync(process.argv[1] ?? "")) {
  const total = { passed: 0, failed: 0 };
  for (const file of process.argv.slice(2)) {
    try {
      const { passed, failed, skipped } = summarize(JSON.parse(fs.readFileSync(file, "utf8")));
      total.passed += passed;
      total.failed += failed;
      for (const name of skipped) process.stdout.write(`skipped: ${name}\n`);
    } catch (error) {
      process.stderr.write(`There is no test report to read: ${error.message}\n`);
      total.failed++;
    }
  }
  process.stdout.write(`${total.passed} passed, ${total.failed} failed\n`);
  process.exit(total.failed > 0 || total.passed === 0 ? 1 : 0);
}
