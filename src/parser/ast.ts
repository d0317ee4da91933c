import type { Diagnostic, Span } from "../diagnostics/index.ts";

/**
 * The typed syntax tree. Every node has a span; a child's span lies inside its parent's. Where the text is broken the
 * tree holds `Missing` nodes (expressions) or leaves a part out, and the diagnostics say why; nothing throws.
 */
export interface Node {
  readonly span: Span;
}

/** A name as it stands in the text. `text` is "" where recovery made it up. */
export interface Name extends Node {
  readonly text: string;
}

/** What one file holds. */
export interface SourceFile extends Node {
  readonly path: string;
  readonly text: string;
  readonly imports: readonly Import[];
  readonly declarations: readonly Declaration[];
  /** All comments in order, `///` ones included (those are also `doc` of what follows). */
  readonly comments: readonly Comment[];
  /** Syntax errors (1xxx). */
  readonly diagnostics: readonly Diagnostic[];
}

/** `// …`, `/// …` or a block comment, with its text as written. */
export interface Comment extends Node {
  readonly text: string;
  readonly doc: boolean;
}

/** `import "./common.moe"` */
export interface Import extends Node {
  readonly kind: "import";
  readonly path: StringLiteral;
}

export type Declaration =
  | BaseDeclaration
  | AdapterDeclaration
  | VariantDeclaration
  | TrainDeclaration
  | ParamDeclaration
  | ConstDeclaration
  | Definition;

/** The Markdown of the `///` lines before a node, without the slashes. */
interface Documented {
  readonly doc?: string;
}

// ——— what a user writes ———

/** `base llama = llama("models/tiny-llama")`: a model definition applied to a checkpoint folder. */
export interface BaseDeclaration extends Node, Documented {
  readonly kind: "base";
  readonly name: Name;
  readonly model: Name;
  readonly args: readonly Argument[];
}

/** `adapter LoRAMoE on llama { … }` */
export interface AdapterDeclaration extends Node, Documented {
  readonly kind: "adapter";
  readonly name: Name;
  readonly base: Name;
  /** `kinds translation, summary`: the kinds of data, where routers look at them or arrows do not name them all. */
  readonly kinds?: readonly Name[];
  /** Columns of the data that routers look at. */
  readonly fields?: readonly FieldClause[];
  readonly sites: readonly AtClause[];
}

/** `field cluster[8]`: a column of whole numbers from 0 to 7, one-hot along the axis `cluster`; `field length`: a number. */
export interface FieldClause extends Node, Documented {
  readonly kind: "column";
  readonly name: Name;
  readonly count?: Expression;
}

/** `adapter B = A with { … }`: A, varied by these clauses. Its name stands among the adapters'. */
export interface VariantDeclaration extends Node, Documented {
  readonly kind: "variant";
  readonly name: Name;
  /** The adapter that is varied. */
  readonly of: Name;
  readonly kinds?: readonly Name[];
  readonly fields?: readonly FieldClause[];
  readonly sites: readonly AtClause[];
}

/** `at layers.*.mlp.{gate_proj, up_proj} { … }` */
export interface AtClause extends Node, Documented {
  readonly kind: "at";
  readonly path: Path;
  readonly clauses: readonly SiteClause[];
}

/** A path pattern: segments between dots. */
export interface Path extends Node {
  readonly segments: readonly PathSegment[];
}

/** One segment: alternatives (one outside braces). A glob's text may hold `*`; the text `**` is any number of segments. */
export interface PathSegment extends Node {
  readonly braces: boolean;
  readonly globs: readonly Name[];
}

export type SiteClause = ExpertsClause | AlwaysClause | RouteClause | BalanceClause | MixClause | UnfreezeClause;

/** `experts knowledge[3] = lora(rank: 4)` */
export interface ExpertsClause extends Node, Documented {
  readonly kind: "experts";
  readonly name: Name;
  readonly count: Expression;
  readonly value: Call | Patch;
}

/** `always lora(rank: 8)`, or `always shared = lora(rank: 8)`: an expert without a gate. */
export interface AlwaysClause extends Node, Documented {
  readonly kind: "always";
  readonly name?: Name;
  readonly value: Call | Patch;
}

/** `patch { gate_proj, up_proj: lora(rank: 16)  down_proj: lora(rank: 8) }`: the whole block is the expert. */
export interface Patch extends Node {
  readonly kind: "patch";
  readonly entries: readonly PatchEntry[];
}

/** `gate_proj, up_proj: lora(rank: 16)`: what changes these linears of the block. */
export interface PatchEntry extends Node {
  readonly linears: readonly Name[];
  readonly value: Call;
}

/** `mix weights`, `mix outputs`: whether the gates weigh what the experts compute (as without the clause) or what they are. */
export interface MixClause extends Node, Documented {
  readonly kind: "mix";
  readonly what: { readonly kind: "outputs" | "weights"; readonly span: Span };
}

/** `route softmax()`, `route top_k(2) per block` */
export interface RouteClause extends Node, Documented {
  readonly kind: "route";
  readonly value: Call;
  readonly per?: Name;
}

/**
 * `balance 0.1 * localized(delta: 0.1) mean over sites unmasked { world_knowledge -> knowledge … }`.
 * `over sites` says how several sites join: their terms in a sum (where nothing is said) or a mean, or, `pooled`, their gates
 * in one term, as if all sites were samples of one.
 */
export interface BalanceClause extends Node, Documented {
  readonly kind: "balance";
  readonly weight?: Expression;
  readonly value: Call;
  readonly reduction?: { readonly kind: "sum" | "mean" | "pooled"; readonly span: Span };
  readonly unmasked?: Span;
  readonly map: readonly KindArrow[];
}

/** `world_knowledge -> knowledge`; several groups: `a -> x, y`. A kind that is no name is a string. */
export interface KindArrow extends Node {
  readonly from: Name;
  readonly to: readonly Name[];
}

/** `unfreeze`: the base's own weights at this path are trained. */
export interface UnfreezeClause extends Node, Documented {
  readonly kind: "unfreeze";
}

/** `train LoRAMoE { data "…" epochs 1 … }` */
export interface TrainDeclaration extends Node, Documented {
  readonly kind: "train";
  readonly adapter: Name;
  readonly settings: readonly Setting[];
}

/** `epochs 1`, `optimizer adamw(lr: 2e-4)` */
export interface Setting extends Node {
  readonly name: Name;
  readonly value: Expression;
}

/** `param rank: int = 4 in [1, 2, 4, 8]` */
export interface ParamDeclaration extends Node, Documented {
  readonly kind: "param";
  readonly name: Name;
  readonly type: ParameterType;
  readonly default: Expression;
  readonly allowed?: Expression;
}

/** `const scale = 2 * rank` */
export interface ConstDeclaration extends Node, Documented {
  readonly kind: "const";
  readonly name: Name;
  readonly value: Expression;
}

// ——— what the library writes ———

export type Definition = MapDefinition | ModelDefinition | FunctionDefinition;

/** `expert lora(…) { … }`, `router …`, `balance …`: parameters, items, and one signature with its body. */
export interface MapDefinition extends Node, Documented {
  readonly kind: "expert" | "router" | "balance";
  readonly name: Name;
  readonly parameters: readonly Parameter[];
  readonly items: readonly BodyItem[];
  /** Absent where the text is broken. */
  readonly signature?: Signature;
}

/** `fn silu(x) = x * sigmoid(x)`, `fn rms_norm(x [over], gain [over], over: axis, eps: float) -> [over] { … }` */
export interface FunctionDefinition extends Node, Documented {
  readonly kind: "fn";
  readonly name: Name;
  readonly parameters: readonly (Parameter | TensorParameter)[];
  readonly result?: AxisList;
  readonly body: Body;
}

/** `model llama(config) { … }` */
export interface ModelDefinition extends Node, Documented {
  readonly kind: "model";
  readonly name: Name;
  /** The name under which the body reads the configuration. */
  readonly config: Name;
  readonly fields: readonly ConfigField[];
  readonly items: readonly BodyItem[];
  readonly signature?: Signature;
}

/** In `config { hidden_size: int   head_dim: int = config.hidden_size / config.num_attention_heads }` */
export interface ConfigField extends Node, Documented {
  readonly kind: "field";
  readonly name: Name;
  readonly type: ParameterType;
  readonly default?: Expression;
}

/** `rank: int`, `form: cv2 | var_over_mean = cv2` */
export interface Parameter extends Node, Documented {
  readonly kind: "parameter";
  readonly name: Name;
  readonly type: ParameterType;
  readonly default?: Expression;
}

/** `x [in]`; of a fn also bare `x`: a tensor of any axes. */
export interface TensorParameter extends Node, Documented {
  readonly kind: "tensor";
  readonly name: Name;
  readonly axes?: AxisList;
}

export interface AxisList extends Node {
  readonly axes: readonly Name[];
}

export type ParameterType =
  | (Node & { readonly kind: "int" | "float" | "bool" | "string" | "axis" })
  /** `cv2 | var_over_mean`: one of these names; `none` is JSON's null in a configuration. */
  | (Node & { readonly kind: "choice"; readonly choices: readonly Name[] })
  /** `{ rope_theta: float = 10000 }`, in a configuration only. */
  | (Node & { readonly kind: "record"; readonly fields: readonly ConfigField[] })
  | (Node & { readonly kind: "list"; readonly of: ParameterType });

export type BodyItem = RequireItem | WeightItem | UpdateItem | LinearItem | UnusedItem | AxisItem | BlockItem;

/** `require rank <= in, "a rank above the layer's width has no use"`; `expect` where it is legal otherwise, and probably wrong. */
export interface RequireItem extends Node, Documented {
  readonly kind: "require" | "expect";
  readonly condition: Expression;
  readonly message?: StringLiteral;
}

/**
 * `weight A [in, rank] = kaiming_uniform(a: sqrt(5))`; in a model: `weight norm [hidden] from "model.norm.weight" when …`.
 * `from "a" or "b"` names what different files call it.
 * `frozen` is never trained; `state` is changed once a step by an `update`, outside the gradient.
 */
export interface WeightItem extends Node, Documented {
  readonly kind: "weight";
  readonly role: "weight" | "frozen" | "state";
  readonly name: Name;
  readonly axes: AxisList;
  readonly initial?: Expression;
  readonly from?: readonly StringLiteral[];
  readonly when?: Expression;
}

/** `update b = 0.9 * b`, `update b { load = sum(…)  b + rate * sign(mean(load) - load) }`: what a `state` becomes after a step. */
export interface UpdateItem extends Node, Documented {
  readonly kind: "update";
  readonly name: Name;
  readonly body: Body;
}

/** `linear q_proj [hidden, query] bias config.attention_bias`; callable in the body: `q_proj(x)`. */
export interface LinearItem extends Node, Documented {
  readonly kind: "linear";
  readonly name: Name;
  readonly axes: AxisList;
  /** `stored [hidden, query]`: how its matrix lies in the file, where not with the output side first. */
  readonly stored?: AxisList;
  readonly bias?: Expression;
  readonly from?: readonly StringLiteral[];
  readonly when?: Expression;
}

/** `unused "bias", "masked_bias"`: tensors that a checkpoint may hold at this place and that the model passes over. */
export interface UnusedItem extends Node, Documented {
  readonly kind: "unused";
  readonly names: readonly StringLiteral[];
  readonly when?: Expression;
}

/** `axis hidden = config.hidden_size` */
export interface AxisItem extends Node, Documented {
  readonly kind: "axis";
  readonly name: Name;
  readonly size: Expression;
}

/** `block mlp(x [hidden]) -> [hidden] { … }`; `block layers[config.num_hidden_layers](h …) … from "model.layers" { … }` */
export interface BlockItem extends Node, Documented {
  readonly kind: "block";
  readonly name: Name;
  readonly count?: Expression;
  readonly from?: readonly StringLiteral[];
  readonly items: readonly BodyItem[];
  readonly signature: Signature;
}

/** `(x [in]) -> [out] = expr` or `(x [in]) -> [out] { … }` */
export interface Signature extends Node, Documented {
  readonly parameters: readonly (TensorParameter | Parameter)[];
  readonly result?: AxisList;
  readonly body: Body;
}

/** Bindings and one result. `result` is a Missing where the text lacks it. */
export interface Body extends Node {
  /** `axis`, `require`, `expect` and `name = expr`, in order. */
  readonly statements: readonly (Binding | AxisItem | RequireItem)[];
  readonly result: Expression;
}

export interface Binding extends Node, Documented {
  readonly kind: "let";
  readonly name: Name;
  readonly value: Expression;
}

// ——— expressions ———

export type Expression =
  | NumberLiteral
  | StringLiteral
  | BooleanLiteral
  | NameExpression
  | ListExpression
  | Member
  | Call
  | IndexExpression
  | Unary
  | Binary
  | Conditional
  | Missing;

export interface NumberLiteral extends Node {
  readonly kind: "number";
  readonly value: number;
  /** Written without point and exponent. */
  readonly integer: boolean;
}

export interface StringLiteral extends Node {
  readonly kind: "string";
  readonly value: string;
}

export interface BooleanLiteral extends Node {
  readonly kind: "boolean";
  readonly value: boolean;
}

export interface NameExpression extends Node {
  readonly kind: "name";
  readonly text: string;
}

/** `[2, 4, 6]`, `[side, pair]` */
export interface ListExpression extends Node {
  readonly kind: "list";
  readonly items: readonly Expression[];
}

/** `config.hidden_size` */
export interface Member extends Node {
  readonly kind: "member";
  readonly object: Expression;
  readonly name: Name;
}

/** `softmax(x, over: expert)`; the callee is a name. */
export interface Call extends Node {
  readonly kind: "call";
  readonly callee: Name;
  readonly args: readonly Argument[];
}

export interface Argument extends Node {
  readonly name?: Name;
  readonly value: Expression;
}

/** `[2, 4, 6, 8][layer * 4 / layers]` */
export interface IndexExpression extends Node {
  readonly kind: "index";
  readonly object: Expression;
  readonly index: Expression;
}

export interface Unary extends Node {
  readonly kind: "unary";
  readonly operator: "-" | "not";
  readonly operand: Expression;
}

export type BinaryOperator =
  | "+" | "-" | "*" | "/" | "%" | "^" | "@"
  | "==" | "!=" | "<" | "<=" | ">" | ">="
  | "and" | "or";

export interface Binary extends Node {
  readonly kind: "binary";
  readonly operator: BinaryOperator;
  readonly left: Expression;
  readonly right: Expression;
}

/** `if c then a else b` */
export interface Conditional extends Node {
  readonly kind: "conditional";
  readonly condition: Expression;
  readonly then: Expression;
  readonly otherwise: Expression;
}

/** What recovery puts where an expression should be. Checked as a value of unknown type: never a second diagnostic. */
export interface Missing extends Node {
  readonly kind: "missing";
}
