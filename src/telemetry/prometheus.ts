/** Prometheus' text form (https://prometheus.io/docs/instrumenting/exposition_formats/), written line by line. */

export type MetricType = "counter" | "gauge" | "histogram" | "summary";
export type Labels = Readonly<Record<string, string>>;

const escape = (value: string): string =>
  value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");

const withLabels = (name: string, labels: Labels): string => {
  const parts = Object.entries(labels).map(([label, value]) => `${label}="${escape(value)}"`);
  return parts.length === 0 ? name : `${name}{${parts.join(",")}}`;
};

export class Exposition {
  readonly #lines: string[] = [];
  #name = "";

  /** Begins a family; the samples that follow belong to it. */
  family(name: string, type: MetricType, help: string): this {
    this.#name = name;
    this.#lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
    return this;
  }

  sample(value: number, labels: Labels = {}, suffix: "" | "_bucket" | "_sum" | "_count" = ""): this {
    this.#lines.push(`${withLabels(this.#name + suffix, labels)} ${value}`);
    return this;
  }

  /** `counts` holds one more bucket than there are limits. */
  histogram(
    of: { readonly limitsMs: readonly number[]; readonly counts: Iterable<number>; readonly sumMs: number },
    labels: Labels = {},
  ): this {
    let sum = 0;
    let index = 0;
    for (const count of of.counts) {
      sum += count;
      const limit = of.limitsMs[index];
      this.sample(sum, { ...labels, le: limit === undefined ? "+Inf" : String(limit / 1000) }, "_bucket");
      index += 1;
    }
    return this.sample(of.sumMs / 1000, labels, "_sum").sample(sum, labels, "_count");
  }

  toString(): string {
    return this.#lines.length === 0 ? "" : `${this.#lines.join("\n")}\n`;
  }
}
