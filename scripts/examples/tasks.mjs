/**
 * The tasks that the base model does not know (kind `downstream`). Each is made of words that it does know, so that an
 * adapter can build on the base. No test prompt is a training prompt; a task that asks about a name (its sort, its
 * first letter, its part of the world) has that name in no training prompt of its own.
 */
import * as facts from "./facts.mjs";
import { judging, sorts, things } from "./reading.mjs";

/** How many rows of each task are for the test, and how many at most for training. */
const testRows = 50;
const trainRows = 400;

/** What is asked of each name, in several phrasings; `about` is what may not be in both files. */
const task = (name, answers, ...phrasings) =>
  answers.map(([about, answer]) =>
    phrasings.map((phrasing, i) => ({
      about,
      id: `${name}-${facts.slug(about)}-${i + 1}`,
      prompt: phrasing.replace("{}", about),
      completion: ` ${answer}`,
      kind: "downstream",
    })),
  );

function allTasks() {
  const names = Object.entries(sorts()).flatMap(([sort, list]) => list.map((name) => [name, sort]));
  const parts = facts.rows(facts.countries).map(([, city, continent]) => [city, continent]);
  const { good, bad } = judging();
  const shapes = ["The {thing} is {word}.", "What a {word} {thing}!", "We found a {word} {thing}."];
  const reviews = things.flatMap((thing) =>
    [...good.map((word) => [word, "good"]), ...bad.map((word) => [word, "bad"])].flatMap(([word, verdict]) =>
      shapes.map((shape) => [shape.replace("{thing}", thing).replace("{word}", word), verdict]),
    ),
  );
  return [
    task("sort", names, "Sort: {} ->", "What sort of thing is {}?"),
    task("letter", names.map(([name]) => [name, name[0]]), "First letter of {}:"),
    task("part", parts, "Part of the world: {} ->", "Where in the world is {}?"),
    task("review", reviews, "Review: {} Verdict:"),
  ];
}

/** Training and test rows of every task, apart. */
export function tasks(shuffled) {
  const split = allTasks().map((groups) => {
    const order = shuffled(groups, ([first]) => first.id).map((rows) => rows.map(({ about, ...row }) => row));
    return {
      test: order.slice(0, testRows).map((rows, i) => rows[i % rows.length]),
      train: order.slice(testRows).flat().slice(0, trainRows),
    };
  });
  return { train: split.flatMap((s) => s.train), test: split.flatMap((s) => s.test) };
}
