import { catalogue } from "../catalogue.ts";
import type { Diagnostic, Severity, Span } from "../diagnostic.ts";
import { jsonPlace } from "./json.ts";
import type { Texts } from "./position.ts";

const levels: Readonly<Record<Severity, "error" | "warning" | "note">> = { error: "error", warning: "warning", info: "note" };

/** A path as a URI reference: relative where the path is, with what URIs cannot hold escaped. */
function uriOf(path: string): string {
  const forward = path.replace(/\\/g, "/");
  const escaped = forward.split("/").map((part) => encodeURIComponent(part.replace(/[\ud800-\udfff]/gu, "\ufffd")).replace(/%3A/g, ":")).join("/");
  if (/^[A-Za-z]:\//.test(forward)) return `file:///${escaped}`;
  return forward.startsWith("/") ? `file://${escaped}` : escaped.replace(/^([^/]*):/, "./$1:");
}

/**
 * Diagnostics as SARIF 2.1.0, which code scanning services read. Columns count code points (`columnKind`).
 * @param version moec's own version, where it is known.
 */
export function renderSarif(diagnostics: readonly Diagnostic[], texts: Texts, version?: string): string {
  const location = (span: Span, message?: string): object => {
    const place = jsonPlace(span, texts);
    return {
      physicalLocation: {
        artifactLocation: { uri: uriOf(place.file) },
        region:
          place.line === undefined
            ? { charOffset: place.start, charLength: place.end - place.start }
            : { startLine: place.line, startColumn: place.column, endLine: place.endLine, endColumn: place.endColumn },
      },
      ...(message === undefined ? {} : { message: { text: message } }),
    };
  };
  const used = [...new Set(diagnostics.map((d) => d.code))].sort();
  const log = {
    $schema: "https://json.schemastore.org/sarif-2.1.0.json",
    version: "2.1.0",
    runs: [
      {
        tool: {
          driver: {
            name: "moec",
            ...(version === undefined ? {} : { version }),
            rules: used.map((code) => ({
              id: code,
              shortDescription: { text: catalogue[code].title },
              fullDescription: { text: catalogue[code].explain },
              defaultConfiguration: { level: levels[catalogue[code].severity] },
            })),
          },
        },
        columnKind: "unicodeCodePoints",
        results: diagnostics.map((d) => ({
          ruleId: d.code,
          ruleIndex: used.indexOf(d.code),
          level: levels[d.severity],
          message: { text: [d.message, ...d.notes, ...(d.help ? [d.help] : [])].join("\n") },
          locations: d.primary ? [location(d.primary.span)] : [],
          ...(d.secondary.length === 0
            ? {}
            : { relatedLocations: d.secondary.map((label, id) => ({ id, ...location(label.span, label.text ?? "related") })) }),
          ...(d.fixes.length === 0
            ? {}
            : {
                fixes: d.fixes.map((fix) => ({
                  description: { text: fix.title },
                  artifactChanges: [...new Set(fix.edits.map((edit) => edit.span.file))].map((file) => ({
                    artifactLocation: { uri: uriOf(file) },
                    replacements: fix.edits
                      .filter((edit) => edit.span.file === file)
                      .map((edit) => ({
                        deletedRegion: (location(edit.span) as { physicalLocation: { region: object } }).physicalLocation.region,
                        insertedContent: { text: edit.text },
                      })),
                  })),
                })),
              }),
        })),
      },
    ],
  };
  return `${JSON.stringify(log, undefined, 2)}\n`;
}
