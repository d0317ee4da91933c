/**
 * Writes `examples/data/*.jsonl` from the tables in `facts.mjs`. The same on every machine: nothing is drawn but from
 * a hash of the row's own name.
 *
 *     node scripts/examples/make-data.mjs            write the files
 *     node scripts/examples/make-data.mjs --check    write nothing; exit 1 when a file differs
 *
 * base.jsonl    what the base model is made of: every fact in several phrasings (kind `world_knowledge`), and sentences
 *               (kind `reading`).
 * train.jsonl   what an adapter is trained on: new tasks (kind `downstream`) and SOME of the facts.
 * test.jsonl    new tasks with prompts that no training file has, and facts in a phrasing in which neither training
 *               file asks them (each fact is known from its other phrasings, each phrasing from other facts). Half of
 *               these facts are in train.jsonl, half are not: the second half shows forgetting.
 * three-kinds.jsonl  as many rows of train.jsonl for each of three kinds: facts, puzzles (the tasks `sort` and `letter`)
 *               and reviews.
 * clustered.jsonl  the same rows with the cluster of their instruction, found by k-means (clusters.mjs), in place of a kind.
 */
import { clusters } from "./clusters.mjs";
import * as facts from "./facts.mjs";
import { reading } from "./reading.mjs";
import { settle } from "./settle.mjs";
import { tasks } from "./tasks.mjs";

/** FNV-1a with a final mix: a number in [0, 1) for a name. */
export function draw(name) {
  let h = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(name)) h = Math.imul(h ^ byte, 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return ((h ^ (h >>> 16)) >>> 0) / 2 ** 32;
}

/** The items in an order that depends on their names alone. */
const shuffled = (items, name) =>
  items
    .map((item) => ({ item, key: draw(`order/${name(item)}`) }))
    .sort((a, b) => a.key - b.key)
    .map(({ item }) => item);

/** One family of facts: what is asked of each pair, in several phrasings ({} stands for the subject). */
const relation = (name, pairs, ...phrasings) => ({ name, pairs, phrasings });

function relations() {
  const countries = facts.rows(facts.countries);
  const elements = facts.rows(facts.elements);
  const books = facts.rows(facts.books);
  const opposites = facts.rows(facts.opposites);
  const months = facts.words(facts.months);
  const days = facts.words(facts.days);
  const planets = facts.words(facts.planets);
  const swap = (pairs) => pairs.map(([a, b]) => [b, a]);
  const next = (list) => list.map((item, i) => [item, list[(i + 1) % list.length]]);
  const numbered = (list) => list.map((item, i) => [item, String(i + 1)]);
  const table = [];
  for (let a = 2; a <= 9; a++) for (let b = 2; b <= 9; b++) table.push([a, b]);

  return [
    relation("capital", countries, "The capital of {} is", "What is the capital of {}?", "{} has the capital", "Capital of {}:"),
    relation("capital-of", swap(countries), "{} is the capital of", "Which country has the capital {}?", "The country of the capital {} is", "{} is in the country of"),
    relation("continent", countries.map(([country, , continent]) => [country, continent]), "{} lies in the continent", "On which continent is {}?", "The continent of {} is", "Continent of {}:"),
    relation("currency", facts.rows(facts.currencies), "The currency of {} is the", "What is the currency of {}?", "People in {} pay with the", "Currency of {}:"),
    relation("symbol", elements, "The chemical symbol of {} is", "What is the symbol for {}?", "{} has the symbol", "Symbol of {}:"),
    relation("element", swap(elements), "The chemical symbol {} means", "Which element has the symbol {}?", "{} is the symbol of", "Element with symbol {}:"),
    relation("number", numbered(elements.map(([element]) => element)), "The atomic number of {} is", "What is the atomic number of {}?", "{} has the atomic number", "Atomic number of {}:"),
    relation("author", books, "{} was written by", "Who wrote {}?", "The author of {} is", "Author of {}:"),
    relation("book", swap(books), "A book by {} is", "Which book did {} write?", "{} wrote", "Book by {}:"),
    relation("young", facts.rows(facts.young), "A young {} is called a", "What is a young {} called?", "The young of a {} is a", "Young {}:"),
    relation("opposite", [...opposites, ...swap(opposites)], "The opposite of {} is", "What is the opposite of {}?", "Not {} but", "Opposite of {}:"),
    relation("month-number", numbered(months), "{} is month number", "Which month of the year is {}?", "The number of the month {} is", "Month number of {}:"),
    relation("next-month", next(months), "The month after {} is", "Which month comes after {}?", "{} is followed by", "After {} comes"),
    relation("next-day", next(days), "The day after {} is", "Which day comes after {}?", "{} is followed by", "After {} comes"),
    relation("planet", numbered(planets), "Counted from the Sun, {} is planet number", "Which planet from the Sun is {}?", "The planet {} has the number", "Planet number of {}:"),
    relation("times", table.map(([a, b]) => [`${a} times ${b}`, String(a * b)]), "{} is", "What is {}?", "{} equals", "Product: {} ="),
    relation("plus", table.map(([a, b]) => [`${a} plus ${b}`, String(a + b)]), "{} is", "What is {}?", "{} equals", "Sum: {} ="),
  ];
}

/** Every fact once: its rows (one a phrasing), and the phrasing that is kept for the test, if any. */
function allFacts() {
  return relations().flatMap(({ name, pairs, phrasings }) =>
    pairs.map(([subject, answer]) => {
      const id = `${name}-${facts.slug(subject)}`;
      const rows = phrasings.map((phrasing, i) => ({
        id: `fact-${id}-${i + 1}`,
        prompt: phrasing.replace("{}", subject),
        completion: ` ${answer}`,
        kind: "world_knowledge",
      }));
      return { id, rows };
    }),
  );
}

/** How many facts the test asks, and how many rows of each sort an adapter is trained on. */
const testFacts = 160;
const trainFactRows = 800;

/** Rows of each kind in three-kinds.jsonl, and the kind of a row by the first word of its id. */
const rowsOfKind = 200;
const clusterCount = 8;
const kindOf = { fact: "fact", sort: "puzzle", letter: "puzzle", review: "review" };

export function makeData() {
  const known = shuffled(allFacts(), (fact) => fact.id);
  const asked = known.slice(0, testFacts);
  const heldOut = new Set(asked.map((fact) => fact.rows[Math.floor(draw(`asked/${fact.id}`) * fact.rows.length)]));

  const base = known.flatMap((fact) => fact.rows).filter((row) => !heldOut.has(row));
  // Half of the facts asked, and then other facts, until there are enough rows.
  const practised = [...asked.slice(0, testFacts / 2), ...known.slice(testFacts)]
    .flatMap((fact) => fact.rows)
    .filter((row) => !heldOut.has(row))
    .slice(0, trainFactRows);

  const { train, test } = tasks(shuffled);
  const sentences = reading().map((row) => ({ ...row, kind: "reading" }));
  const byId = (row) => row.id;
  const trained = shuffled([...train, ...practised], byId);
  const counts = {};
  const three = trained
    .map((row) => ({ ...row, kind: kindOf[row.id.split("-")[0]] }))
    .filter(({ kind }) => (counts[kind] = (counts[kind] ?? 0) + 1) <= rowsOfKind);
  return {
    "base.jsonl": shuffled([...base, ...sentences], byId),
    "train.jsonl": trained,
    "test.jsonl": [...heldOut, ...test],
    "three-kinds.jsonl": three,
    "clustered.jsonl": clustered(three),
  };
}

/** The rows with the cluster of their instruction in place of a kind. */
function clustered(rows) {
  const found = clusters(rows.map((row) => row.prompt), clusterCount);
  return rows.map(({ kind: _, ...row }, i) => ({ ...row, cluster: found[i] }));
}

if (process.argv[1] === import.meta.filename) {
  const texts = Object.entries(makeData()).map(([name, rows]) => [name, rows.map((row) => `${JSON.stringify(row)}\n`).join("")]);
  await settle("data", Object.fromEntries(texts));
}
