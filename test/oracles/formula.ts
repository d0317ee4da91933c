/**
 * LoRAMoE on one linear, written out by hand in float64: forward, balance and every gradient, with loops and indices and
 * nothing of the compiler's. Formulas: Dou et al. 2023 (arXiv 2312.09979), sections 3.2 and 3.3, and the authors' `cv_squared`.
 */
export interface Problem {
  readonly sizes: { readonly samples: number; readonly positions: number; readonly in: number; readonly out: number; readonly rank: number; readonly experts: number };
  readonly alpha: number;
  readonly weight: number;
  /** What an expert's importance is multiplied by where its group does, or does not, match the sample's kind. */
  readonly factors: { readonly matched: number; readonly other: number };
  readonly form: "cv2" | "var_over_mean";
  /** matched[sample][expert] */
  readonly matched: readonly (readonly boolean[])[];
  /** x, C, mask, base [out, in], router [expert, in], A [expert, rank, in], B [expert, out, rank], each flat. */
  readonly x: Float64Array;
  readonly C: Float64Array;
  readonly mask: Float64Array;
  readonly base: Float64Array;
  readonly router: Float64Array;
  readonly A: Float64Array;
  readonly B: Float64Array;
}

export interface Solution {
  readonly output: Float64Array;
  readonly gates: Float64Array;
  readonly balance: number;
  readonly total: number;
  readonly gradients: { readonly x: Float64Array; readonly router: Float64Array; readonly A: Float64Array; readonly B: Float64Array };
}

/** The loss is Σ output · C + balance; with `onlyBalance` its gradients are those of the balance alone. */
export function solve(p: Problem, onlyBalance = false): Solution {
  const { samples: S, positions: P, in: I, out: O, rank: R, experts: E } = p.sizes;
  const scale = p.alpha / R;
  const T = S * P;
  const gates = new Float64Array(T * E);
  const hidden = new Float64Array(T * E * R);
  const updates = new Float64Array(T * E * O);
  const output = new Float64Array(T * O);
  for (let t = 0; t < T; t++) {
    const logits = Array.from({ length: E }, (_, e) => sum(I, (i) => p.router[e * I + i]! * p.x[t * I + i]!));
    const greatest = Math.max(...logits);
    const whole = logits.reduce((s, l) => s + Math.exp(l - greatest), 0);
    for (let e = 0; e < E; e++) {
      gates[t * E + e] = Math.exp(logits[e]! - greatest) / whole;
      for (let r = 0; r < R; r++) hidden[(t * E + e) * R + r] = sum(I, (i) => p.A[(e * R + r) * I + i]! * p.x[t * I + i]!);
      for (let o = 0; o < O; o++) updates[(t * E + e) * O + o] = sum(R, (r) => p.B[(e * O + o) * R + r]! * hidden[(t * E + e) * R + r]!);
    }
    for (let o = 0; o < O; o++) {
      output[t * O + o] = sum(I, (i) => p.base[o * I + i]! * p.x[t * I + i]!) + scale * sum(E, (e) => gates[t * E + e]! * updates[(t * E + e) * O + o]!);
    }
  }

  // z of a sample and an expert, its mean and unbiased variance, and the slope of the balance in each z.
  const N = S * E;
  const factor = (s: number, e: number): number => (p.matched[s]![e]! ? p.factors.matched : p.factors.other);
  const z = Array.from({ length: N }, (_, n) => {
    const [s, e] = [Math.floor(n / E), n % E];
    return factor(s, e) * sum(P, (q) => gates[(s * P + q) * E + e]! * p.mask[s * P + q]!);
  });
  const mean = z.reduce((a, b) => a + b, 0) / N;
  const variance = z.reduce((a, b) => a + (b - mean) ** 2, 0) / (N - 1);
  const [below, slopeBelow] = p.form === "cv2" ? [mean * mean + 1e-10, 2 * mean] : [mean + 1e-10, 1];
  const balance = (p.weight * variance) / below;
  const dz = z.map((v) => p.weight * ((2 * (v - mean)) / (N - 1) / below - (variance * slopeBelow) / (below * below) / N));

  const d = { x: new Float64Array(T * I), router: new Float64Array(E * I), A: new Float64Array(E * R * I), B: new Float64Array(E * O * R) };
  for (let t = 0; t < T; t++) {
    const s = Math.floor(t / P);
    const C = (o: number): number => (onlyBalance ? 0 : p.C[t * O + o]!);
    const dGates = Array.from({ length: E }, (_, e) => scale * sum(O, (o) => C(o) * updates[(t * E + e) * O + o]!) + dz[s * E + e]! * factor(s, e) * p.mask[t]!);
    const along = sum(E, (e) => gates[t * E + e]! * dGates[e]!);
    for (let i = 0; i < I; i++) d.x[t * I + i] = sum(O, (o) => C(o) * p.base[o * I + i]!);
    for (let e = 0; e < E; e++) {
      const gate = gates[t * E + e]!;
      const dLogit = gate * (dGates[e]! - along);
      for (let i = 0; i < I; i++) {
        d.router[e * I + i]! += dLogit * p.x[t * I + i]!;
        d.x[t * I + i]! += dLogit * p.router[e * I + i]!;
      }
      for (let r = 0; r < R; r++) {
        const dHidden = scale * gate * sum(O, (o) => C(o) * p.B[(e * O + o) * R + r]!);
        for (let o = 0; o < O; o++) d.B[(e * O + o) * R + r]! += scale * gate * C(o) * hidden[(t * E + e) * R + r]!;
        for (let i = 0; i < I; i++) {
          d.A[(e * R + r) * I + i]! += dHidden * p.x[t * I + i]!;
          d.x[t * I + i]! += dHidden * p.A[(e * R + r) * I + i]!;
        }
      }
    }
  }
  return { output, gates, balance, total: sum(output.length, (i) => output[i]! * p.C[i]!) + balance, gradients: d };
}

function sum(count: number, of: (i: number) => number): number {
  let total = 0;
  for (let i = 0; i < count; i++) total += of(i);
  return total;
}
