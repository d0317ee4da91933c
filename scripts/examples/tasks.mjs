/**
 * The tasks that the base model does not know (kind `downstream`). Each is made of words that it does know, so that an
 * adapter can build on the base. No test prompt is a training prompt; a task that asks about a name (its sort, its
 * first letter) has that name in no training prompt of its own.
 */
import * as facts from "./facts.mjs";
import { judging, sorts, things } from "./reading.mjs";

/** How many rows of each task are for the test, and how many at most for training. */
const testRows = 50;
const trainRows = 400;

/** One task: what is asked ({} stands for what it is asked about), and each thing's answer. */
const task = (name, phrasing, answers) =>
  answers.map(([about, answer]) => ({
    id: `${name}-${facts.slug(about)}`,
    prompt: phrasing.replace("{}", about),
    completion: ` ${answer}`,
    kind: "downstream",
  }));

function allTasks() {
  const names = Object.entries(sorts()).flatMap(([sort, list]) => list.map((name) => [name, sort]));
  const { good, bad } = judging();
  const shapes = ["The {thing} is {word}.", "What a {word} {thing}!", "We found a {word} {thing}."];
  const reviews = things.flatMap((thing) =>
    [...good.map((word) => [word, "good"]), ...bad.map((word) => [word, "bad"])].flatMap(([word, verdict]) =>
      shapes.map((shape) => [shape.replace("{thing}", thing).replace("{word}", word), verdict]),
    ),
  );
  return [
    task("sort", "{} is a kind of", names),
    task("letter", "First letter of {}:", names.map(([name]) => [name, name[0]])),
    task("review", "Review: {} Verdict:", reviews),
  ];
}

/** Training and test rows of every task, apart. */
export function tasks(shuffled) {
  const orders = allTasks().map((rows) => shuffled(rows, (row) => row.id));
  return {
    train: orders.flatMap((rows) => rows.slice(testRows, testRows + trainRows)),
    test: orders.flatMap((rows) => rows.slice(0, testRows)),
  };
}
