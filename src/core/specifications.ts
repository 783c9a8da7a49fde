/**
 * The resource specifications services can be deployed with (contracts/modelarts.md §2.11): CPU sizes that every
 * machine has. The accelerator names of the guide are not offered until a runner can give them.
 */
export interface Specification {
  readonly name: string;
  readonly category: "CPU";
  readonly cpu: number;
  readonly memoryMb: number;
  readonly display: string;
}

const cpu = (name: string, cores: number, memoryGb: number): Specification => ({
  name,
  category: "CPU",
  cpu: cores,
  memoryMb: memoryGb * 1024,
  display: `CPU: ${cores} vCPUs ${memoryGb} GB`,
});

export const SPECIFICATIONS: readonly Specification[] = [
  cpu("modelarts.vm.cpu.free", 1, 4),
  cpu("modelarts.vm.cpu.2u", 2, 8),
  cpu("modelarts.vm.cpu.4u", 4, 16),
  cpu("modelarts.vm.cpu.8u", 8, 32),
];

/** `specification` of an entry whose size is in `custom_spec`. */
export const CUSTOM_SPECIFICATION = "custom";

export const SPECIFICATION_NAMES: readonly string[] = [
  ...SPECIFICATIONS.map((s) => s.name),
  CUSTOM_SPECIFICATION,
];

/** What one instance gets. Null for a name that is not offered (a row of an older release, at most). */
export const resourcesOf = (entry: {
  readonly specification: string;
  readonly customSpec: { readonly cpu: number; readonly memory: number } | null;
}): { readonly cpu: number; readonly memoryMb: number } | null => {
  if (entry.specification === CUSTOM_SPECIFICATION) {
    return entry.customSpec === null
      ? null
      : { cpu: entry.customSpec.cpu, memoryMb: entry.customSpec.memory };
  }
  const found = SPECIFICATIONS.find((s) => s.name === entry.specification);
  return found === undefined ? null : { cpu: found.cpu, memoryMb: found.memoryMb };
};
