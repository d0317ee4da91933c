import type { Diagnostic } from "../diagnostic.ts";
import { jsonPlace } from "./json.ts";
import type { Texts } from "./position.ts";

/** Escapes the text of a workflow command. */
function data(text: string): string {
  return text.replace(/%/g, "%25").replace(/\r/g, "%0D").replace(/\n/g, "%0A");
}

/** Escapes a property of a workflow command, where `:` and `,` also mean something. */
function property(text: string): string {
  return data(text).replace(/:/g, "%3A").replace(/,/g, "%2C");
}

/** Diagnostics as GitHub's workflow commands, which annotate the lines of a pull request: one line each. */
export function renderGithub(diagnostics: readonly Diagnostic[], texts: Texts): string {
  return diagnostics
    .map((d) => {
      const command = d.severity === "info" ? "notice" : d.severity;
      const properties: string[] = [];
      if (d.primary) {
        const place = jsonPlace(d.primary.span, texts);
        properties.push(`file=${property(place.file)}`);
        if (place.line !== undefined) {
          properties.push(`line=${place.line}`, `endLine=${place.endLine}`);
          // GitHub shows columns only of a range within one line.
          if (place.line === place.endLine) properties.push(`col=${place.column}`, `endColumn=${place.endColumn}`);
        }
      }
      properties.push(`title=${property(d.code)}`);
      const rest = [...d.notes.map((note) => `note: ${note}`), ...(d.help ? [`help: ${d.help}`] : [])];
      return `::${command} ${properties.join(",")}::${data([d.message, ...rest].join("\n"))}\n`;
    })
    .join("");
}
