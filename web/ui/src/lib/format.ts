// Times, sizes and values as a person reads them. Pure.
import type { Json } from '../api/types';

/** "4 s", "2 min 5 s", "3 h 12 min", "2 d 4 h": at most two units, never more exact than useful. */
export function duration(ms: number): string {
  if (!Number.isFinite(ms) || ms < 0) return '0 s';
  const seconds = Math.floor(ms / 1000);
  if (seconds < 1) return '< 1 s';
  const pair = (big: number, bigUnit: string, small: number, smallUnit: string) =>
    small === 0 ? `${big} ${bigUnit}` : `${big} ${bigUnit} ${small} ${smallUnit}`;
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return pair(minutes, 'min', seconds % 60, 's');
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return pair(hours, 'h', minutes % 60, 'min');
  return pair(Math.floor(hours / 24), 'd', hours % 24, 'h');
}

/** Upstream marks "not finished" with the epoch; we never show that as a date. */
export function parseTime(text: string | undefined): number | undefined {
  if (text === undefined || text === '') return undefined;
  const ms = Date.parse(text);
  return Number.isNaN(ms) || ms <= 0 ? undefined : ms;
}

export function span(start: string | undefined, finish: string | undefined, now: number): string | undefined {
  const from = parseTime(start);
  if (from === undefined) return undefined;
  return duration((parseTime(finish) ?? now) - from);
}

/** "just now", "5 min ago". */
export function age(text: string | undefined, now: number): string {
  const at = parseTime(text);
  if (at === undefined) return '';
  const ms = now - at;
  if (ms < 10_000) return 'just now';
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return `${seconds} s ago`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ago`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ago`;
  return `${Math.floor(hours / 24)} d ago`;
}

const stamp = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
export function dateTime(text: string | undefined): string {
  const at = parseTime(text);
  return at === undefined ? '' : stamp.format(at);
}

export function bytes(count: number): string {
  if (count < 1024) return `${count} B`;
  let value = count;
  let unit = 'B';
  for (const next of ['KiB', 'MiB', 'GiB', 'TiB']) {
    if (value < 1024) break;
    value /= 1024;
    unit = next;
  }
  return `${value >= 100 ? value.toFixed(0) : value.toFixed(1)} ${unit}`;
}

/** A metric or cell: short, but never a changed integer. */
export function number(value: number): string {
  if (Number.isInteger(value)) return String(value);
  const magnitude = Math.abs(value);
  if (magnitude !== 0 && (magnitude < 1e-4 || magnitude >= 1e9)) return value.toExponential(4);
  return String(Number(value.toPrecision(6)));
}

export function value(json: Json | undefined): string {
  if (json === undefined) return '';
  if (json === null) return 'null';
  if (typeof json === 'string') return json;
  if (typeof json === 'number') return number(json);
  return JSON.stringify(json);
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

/** "a, b and 3 more". */
export function someOf(names: string[], max = 2): string {
  if (names.length <= max) return names.join(', ');
  return `${names.slice(0, max).join(', ')} and ${names.length - max} more`;
}

/** "digits-quickstart run of 22 Nov, 14:05": a name that tells runs apart without thinking of one. */
export function runNameFor(pipeline: string, at: Date): string {
  const two = (n: number) => String(n).padStart(2, '0');
  return `${pipeline} ${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}-${two(at.getMinutes())}-${two(at.getSeconds())}`;
}
