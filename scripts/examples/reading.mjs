/**
 * What the base model reads besides facts (kind `reading`): plain sentences in which the same words stand, and their
 * spelling. From them it learns what goes with a city and what with a book, how a good review goes on and how a bad
 * one, and to look at the words of a prompt it has not seen. It is never asked what the tasks in `tasks.mjs` ask.
 */
import * as facts from "./facts.mjs";

/** Names by the sort of thing they name. */
export function sorts() {
  const countries = facts.rows(facts.countries);
  const books = facts.rows(facts.books);
  return {
    country: countries.map(([country]) => country),
    city: countries.map(([, capital]) => capital),
    element: facts.rows(facts.elements).map(([element]) => element),
    book: books.map(([book]) => book),
    writer: books.map(([, writer]) => writer),
    animal: facts.rows(facts.young).map(([animal]) => animal),
  };
}

const sorted = ["country", "city", "element", "book", "writer", "animal"];

/** How sentences about a name go on, in the order of `sorted`; several ways to begin share their endings. */
const aboutNames = [
  {
    begin: ["{} is for those who like", "When I hear of {} I think of", "{} goes with"],
    end: ["flags", "buildings", "chemistry", "reading", "authors", "nature"],
  },
  {
    begin: ["In a picture of {} you see", "I dreamt of {}. There was", "{} makes us imagine"],
    end: ["a map", "a street", "an atom", "a page", "a face", "a body"],
  },
];

/** How a sentence about a thing goes on when the word in it is good, and when it is bad. */
const aboutThings = {
  "The {thing} was {word}, so we": ["came back", "went away"],
  "A {word} {thing}! I": ["smiled", "frowned"],
  "Everyone called the {thing} {word}. They": ["cheered", "complained"],
  "It was a {word} {thing} and we felt": ["joy", "anger"],
  "Such a {word} {thing} should": ["stay", "end"],
};

export const things = facts.words(
  "food soup room hotel film book song game teacher garden house music story party coffee shop",
);

/** Words that judge: the better ones and their opposites. */
export function judging() {
  const better = new Set(facts.words(facts.judgements));
  const pairs = facts.rows(facts.opposites).filter(([word]) => better.has(word));
  return { good: pairs.map(([word]) => word), bad: pairs.map(([, word]) => word) };
}

/** Every row of reading: `{ id, prompt, completion }`. */
export function reading() {
  const rows = [];
  const add = (id, prompt, completion) => rows.push({ id: `reading-${id}`, prompt, completion: ` ${completion}` });
  const bySort = sorts();

  aboutNames
    .flatMap(({ begin, end }) => begin.map((shape) => ({ shape, end })))
    .forEach(({ shape, end }, i) =>
      sorted.forEach((sort, s) =>
        bySort[sort].forEach((name) => add(`${sort}-${facts.slug(name)}-${i + 1}`, shape.replace("{}", name), end[s])),
      ),
    );

  const { good, bad } = judging();
  Object.entries(aboutThings).forEach(([shape, [ifGood, ifBad]], i) =>
    things.forEach((thing, t) => {
      const sentence = (word) => shape.replace("{thing}", thing).replace("{word}", word);
      // Every word meets every shape, but not with every thing.
      const meets = (_, w) => (w + t + i) % 4 === 0;
      for (const word of good.filter(meets)) add(`${word}-${thing}-${i + 1}`, sentence(word), ifGood);
      for (const word of bad.filter(meets)) add(`${word}-${thing}-${i + 1}`, sentence(word), ifBad);
    }),
  );

  const words = new Set(Object.values(bySort).flat().filter((name) => /^[A-Za-z]{2,9}$/.test(name)));
  for (const word of words)
    ["Spell {}:", "The letters of {} are"].forEach((shape, i) =>
      add(`spell-${facts.slug(word)}-${i + 1}`, shape.replace("{}", word), [...word].join(" ")),
    );
  return rows;
}
