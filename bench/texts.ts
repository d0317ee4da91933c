/** Texts of a wanted number of lines, in moec's language and in its neighbours': blocks that declare and use things, repeated. */

export type Language = "moec" | "typespec" | "prisma" | "langium";

interface Grammar {
  readonly head: string;
  /** One block; what it declares has the number in its name. */
  readonly block: (i: number) => string;
  /** What may stand after a block to fill the last lines. */
  readonly filler: string;
}

const grammars: Readonly<Record<Language, Grammar>> = {
  moec: {
    head: `base llama = llama("models/tiny-llama")\n`,
    block: (i) => `
/// An update of low rank with a scale of its own.
expert scaled${i}(rank: int, alpha: float = ${i % 7} + rank) {
  require 1 <= rank and rank <= min(in, out), "the rank is at most the smaller side"
  weight A [in, rank]  = kaiming_uniform(a: sqrt(5))
  weight B [rank, out] = zeros()
  (x [in]) -> [out] = alpha / rank * (x @ A @ B)
}

/// Probabilities that are sharper than those of the softmax.
router sharp${i}(temperature: float = 1) {
  require temperature > 0
  weight W [in, expert] = kaiming_uniform(a: sqrt(5))
  (x [in]) -> [expert] {
    scores = x @ W / temperature
    p      = softmax(scores, over: expert)
    p * p / sum(p * p, over: expert)
  }
}

/// Two groups that the localized constraint keeps apart.
adapter A${i} on llama {
  at layers.*.mlp.{gate_proj, up_proj, down_proj} {
    experts knowledge[3] = scaled${i}(rank: 4)
    experts skill[3]     = lora(rank: 4, alpha: 32, dropout: 0.05)

    route sharp${i}(temperature: 2)

    balance 0.1 * localized(delta: 0.1) {
      world_knowledge -> knowledge
      downstream      -> skill
    }
  }
}

train A${i} {
  data      "data/train.jsonl"
  optimizer adamw(lr: 3e-3, weight_decay: 0)
  schedule  cosine(warmup: 0.03)
  steps 300  batch 16  length 32  seed ${i}
}
`,
    filler: "// …",
  },
  typespec: {
    head: `namespace Bench;\n`,
    block: (i) => `
/** What an order is. */
model Order${i} {
  id: string;
  count: int32 = ${i};
  weight?: float64;
  placed: utcDateTime;
  lines: Line${i}[];
  state: State${i};
}

model Line${i} {
  name: string;
  price: decimal;
  order?: Order${i};
}

enum State${i} {
  open,
  paid: "PAID",
  sent,
}

interface Orders${i} {
  read(id: string): Order${i} | null;
  list(state?: State${i}): Order${i}[];
}
`,
    filler: "// …",
  },
  prisma: {
    head: `datasource db {\n  provider = "postgresql"\n}\n`,
    block: (i) => `
/// What an order is.
model Order${i} {
  id     String   @id @default(uuid())
  count  Int      @default(${i})
  weight Float?
  placed DateTime @default(now())
  lines  Line${i}[]
  state  State${i}   @default(OPEN)

  @@index([placed, state])
}

model Line${i} {
  id      Int    @id @default(autoincrement())
  name    String @unique
  orderId String
  order   Order${i} @relation(fields: [orderId], references: [id])
}

enum State${i} {
  OPEN
  PAID
  SENT
}
`,
    filler: "// …",
  },
  langium: {
    head: `grammar Bench\n\nentry Model: orders+=Order0*;\nhidden terminal WS: /\\s+/;\nterminal ID: /[_a-zA-Z][\\w_]*/;\nterminal INT returns number: /[0-9]+/;\n`,
    block: (i) => `
/** What an order is. */
Order${i}:
    'order${i}' name=ID ('of' count=INT)? '{'
        (lines+=Line${i} | notes+=Note${i})*
        ('after' before=[Order${i}:ID])?
    '}';

Line${i}:
    'line${i}' name=ID ':' price=INT (',' more+=INT)*;

Note${i} returns string: 'note${i}' | 'remark${i}' | ID;

interface Parcel${i} {
    name: string
    order: @Order${i}
    weight?: number
}
`,
    filler: "// …",
  },
};

/** A text of exactly so many lines: as many whole blocks as fit, one at the least that the first ten lines do not hold. */
export function textOf(language: Language, lines: number): string {
  const { head, block, filler } = grammars[language];
  const parts = [head];
  let count = newlines(head);
  for (let i = 0; ; i++) {
    const next = block(i);
    if (count + newlines(next) > lines) break;
    parts.push(next);
    count += newlines(next);
  }
  return parts.join("") + `${filler}\n`.repeat(lines - count);
}

const newlines = (text: string): number => text.split("\n").length - 1;
