// Amounts as Kubernetes writes them ("500m", "2Gi"), as numbers and back. Pure.

const UNITS: Record<string, number> = {
  n: 1e-9, u: 1e-6, m: 1e-3, '': 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15,
  Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40, Pi: 2 ** 50,
};
export const GIB = 2 ** 30;

/** CPUs, or bytes; undefined when it is no amount. */
export function parseQuantity(text: string | number | undefined): number | undefined {
  if (text === undefined) return undefined;
  const found = /^([+-]?[\d.]+(?:[eE][+-]?\d+)?)([a-zA-Z]*)$/.exec(String(text).trim());
  const unit = UNITS[found?.[2] ?? ''];
  const amount = Number(found?.[1] ?? NaN);
  return found === null || unit === undefined || Number.isNaN(amount) ? undefined : amount * unit;
}

/** Gibibytes, exact to a mebibyte. */
export const gibQuantity = (gib: number): string => (Number.isInteger(gib) ? `${gib}Gi` : `${Math.round(gib * 1024)}Mi`);
/** CPUs, exact to a thousandth. */
export const cpuQuantity = (cpu: number): string => (Number.isInteger(cpu) ? String(cpu) : `${Math.round(cpu * 1000)}m`);

/** Not more than there is, in words: rounded down, so that what is said to fit does fit. */
export function floorTo(value: number, step: number): number {
  // 0.3 / 0.1 is a little less than 3.
  return Number((Math.floor(value / step + 1e-9) * step).toFixed(3));
}

export const cpus = (count: number): string => `${Number(count.toFixed(2))} ${count === 1 ? 'CPU' : 'CPUs'}`;
export const gib = (bytes: number): string => `${floorTo(bytes / GIB, 0.1)} GiB`;
