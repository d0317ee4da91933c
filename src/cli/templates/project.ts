/** What `moec init` writes: a project that checks, builds and trains once its base is there. */

export interface ProjectSettings {
  /** The package's name. */
  readonly name: string;
  /** The base's folder, seen from the project's. */
  readonly base: string;
  /** The version of moec that the project is made for. */
  readonly version: string;
}

/** Files by path below the project's folder. */
export function projectFiles(settings: ProjectSettings): ReadonlyMap<string, string> {
  return new Map([
    ["package.json", packageJson(settings)],
    ["moec.config.json", config],
    ["loramoe.moe", spec(settings)],
    ["data/train.jsonl", lines(trainRows)],
    ["data/test.jsonl", lines(testRows)],
    [".gitignore", "node_modules/\n/build/\n/out/\n/models/\n"],
    ["README.md", readme(settings)],
  ]);
}

const packageJson = ({ name, version }: ProjectSettings): string => `${JSON.stringify(
  {
    name,
    version: "0.1.0",
    private: true,
    type: "module",
    scripts: { check: "moec check", plan: "moec plan loramoe.moe", build: "moec build", train: "moec train loramoe.moe", test: "moec eval out/LoRAMoE --data data/test.jsonl" },
    dependencies: { moec: `^${version}` },
  },
  null,
  2,
)}\n`;

const config = `${JSON.stringify({ $schema: "./node_modules/moec/dist/schemas/config.schema.json", specs: ["loramoe.moe"], out: "build", backend: "auto" }, null, 2)}\n`;

const spec = ({ base }: ProjectSettings): string => `/// LoRAMoE (arXiv 2312.09979): six LoRA experts on every FFN projection, in two groups
/// that the localized balancing constraint keeps apart.

base llama = llama(${JSON.stringify(base)})

/// Rank of every expert; try others with \`moec sweep loramoe.moe --over rank=2,4,8\`.
param rank: int = 4 in [1, 2, 4, 8, 16]

adapter LoRAMoE on llama {
  at layers.*.mlp.{gate_proj, up_proj, down_proj} {
    experts knowledge[3] = lora(rank: rank, alpha: 8 * rank, dropout: 0.05)
    experts skill[3]     = lora(rank: rank, alpha: 8 * rank, dropout: 0.05)

    route softmax()

    balance 0.1 * localized(delta: 0.1) {
      world_knowledge -> knowledge
      downstream      -> skill
    }
  }
}

train LoRAMoE {
  data      "data/train.jsonl"
  test      "data/test.jsonl"
  optimizer adamw(lr: 2e-4, weight_decay: 0)
  schedule  cosine(warmup: 0.03)
  epochs 3  batch 4  length 64  seed 1
}
`;

/** What a base knows already, and a task that it is to learn. */
const trainRows: readonly (readonly [string, string, string])[] = [
  ["The capital of France is", " Paris", "world_knowledge"],
  ["The capital of Japan is", " Tokyo", "world_knowledge"],
  ["The capital of Egypt is", " Cairo", "world_knowledge"],
  ["The capital of Peru is", " Lima", "world_knowledge"],
  ["The largest planet of the Sun is", " Jupiter", "world_knowledge"],
  ["Water is made of hydrogen and", " oxygen", "world_knowledge"],
  ["Answer with the plural. mouse:", " mice", "downstream"],
  ["Answer with the plural. house:", " houses", "downstream"],
  ["Answer with the plural. child:", " children", "downstream"],
  ["Answer with the plural. box:", " boxes", "downstream"],
  ["Answer with the plural. leaf:", " leaves", "downstream"],
  ["Answer with the plural. city:", " cities", "downstream"],
];

const testRows: readonly (readonly [string, string, string])[] = [
  ["The capital of Italy is", " Rome", "world_knowledge"],
  ["The capital of Norway is", " Oslo", "world_knowledge"],
  ["Answer with the plural. foot:", " feet", "downstream"],
  ["Answer with the plural. story:", " stories", "downstream"],
];

function lines(rows: readonly (readonly [string, string, string])[]): string {
  return rows.map(([prompt, completion, kind]) => `${JSON.stringify({ prompt, completion, kind })}\n`).join("");
}

const readme = ({ name, base }: ProjectSettings): string => `# ${name}

A mixture of LoRA experts, written in [moec](https://www.npmjs.com/package/moec)'s language: \`loramoe.moe\`.

The base is a checkpoint of the Llama family in \`${base}\`: a folder with \`config.json\`, \`model.safetensors\` (or its
shards and their index) and \`tokenizer.json\`. A small one to begin with:

\`\`\`sh
hf download HuggingFaceTB/SmolLM2-135M --local-dir ${/^[\w./-]+$/.test(base) ? base : `'${base.replaceAll("'", "'\\''")}'`}
\`\`\`

Then:

\`\`\`sh
npm install
npm run check     # every mistake of the spec, before anything runs
npm run plan      # what it costs: parameters, operations, memory
npm run build     # TypeScript and its types, in build/
npm run train     # the adapter, in out/LoRAMoE
npm test          # loss and exact matches by kind of data
\`\`\`

\`data/\` holds a few rows that show the form; \`kind\` is what the \`balance\` block of the spec speaks of. Which specs
\`check\` and \`build\` take, and where results go, is in \`moec.config.json\`.
`;
