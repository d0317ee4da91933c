// Langium's parser, made with the same library as moec's, on the language that Langium's own grammars are written in.
import { readFileSync } from "node:fs";
import { EmptyFileSystem } from "langium";
import { createLangiumGrammarServices } from "langium/grammar";

export const name = `Langium ${JSON.parse(readFileSync(new URL("node_modules/langium/package.json", import.meta.url), "utf8")).version}`;

export function prepare() {
  const { parser } = createLangiumGrammarServices(EmptyFileSystem).grammar;
  return {
    parse: async (text) => {
      const { lexerErrors, parserErrors } = parser.LangiumParser.parse(text);
      const wrong = lexerErrors[0] ?? parserErrors[0];
      if (wrong) throw new Error(`Langium: ${wrong.message}`);
    },
  };
}
