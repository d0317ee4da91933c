import type { AxisRef, Entity } from "./values.ts";

/**
 * Names in scope, and the axes that the text in scope sees. What a definition does not mention it does not see: such
 * axes ride along (implicit mapping), no reduction or product takes them.
 */
export class Scope {
  readonly names = new Map<string, Entity>();
  readonly visible: Set<AxisRef>;
  readonly parent: Scope | undefined;
  /** Names of axes that arguments carry unseen: a new axis of this scope must not capture them. */
  readonly hidden: Set<string>;

  /** Names whose declaration is at fault: to use one is no second mistake. */
  readonly faulty = new Set<string>();

  constructor(parent?: Scope, visible: Iterable<AxisRef> = parent?.visible ?? []) {
    this.parent = parent;
    this.visible = new Set(visible);
    this.hidden = parent?.hidden ?? new Set();
  }

  lookup(name: string): Entity | undefined {
    return this.names.get(name) ?? this.parent?.lookup(name);
  }

  /** What a name stands for where an axis is wanted: a tensor of the same name, `cluster [cluster]`, is passed over. */
  lookupAxis(name: string): Entity | undefined {
    const own = this.names.get(name);
    if (own && own.kind !== "tensor") return own;
    return this.parent?.lookupAxis(name) ?? own;
  }

  /** Whether the name was declared, but nothing is known of what it stands for. */
  isFaulty(name: string): boolean {
    return this.faulty.has(name) || (this.parent?.isFaulty(name) ?? false);
  }

  define(name: string, entity: Entity): void {
    this.names.set(name, entity);
    if (entity.kind === "axis") this.visible.add(entity.axis);
  }

  /** Every name that could have been meant, for suggestions. */
  *known(): Generator<string> {
    yield* this.names.keys();
    if (this.parent) yield* this.parent.known();
  }

  /** The axes among `axes` that this scope sees. */
  seen(axes: readonly AxisRef[]): AxisRef[] {
    return axes.filter((a) => this.visible.has(a));
  }

  /** What this scope calls an axis. */
  nameOf(axis: AxisRef): string {
    for (let scope: Scope | undefined = this; scope; scope = scope.parent) {
      for (const [name, entity] of scope.names) if (entity.kind === "axis" && entity.axis === axis) return name;
    }
    return axis.name;
  }
}
