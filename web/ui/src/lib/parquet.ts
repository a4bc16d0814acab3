// Parquet as a table to look at: which compressions can be read here, and what stands in a cell. Pure.

/** What the reader unpacks by itself. */
const READABLE = ['UNCOMPRESSED', 'SNAPPY'];

export const codecTrouble = (codecs: readonly string[]): string | undefined => {
  const other = codecs.find((codec) => !READABLE.includes(codec));
  return other === undefined ? undefined : `This file uses a compression that the browser cannot read (${other}).`;
};

/** Bytes of a cell that are shown. */
const SHOWN = 16;

export function cellText(value: unknown): string {
  if (value === null || value === undefined) return '';
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? '' : timeText(value);
  if (value instanceof Uint8Array) return bytesText(value);
  return typeof value === 'object' ? JSON.stringify(value, plain) : String(value);
}

/** Without a zone: the file may know none. */
const timeText = (time: Date): string => time.toISOString().replace('T', ' ').replace(/(\.000)?Z$/, '').replace(/ 00:00:00$/, '');

const utf8 = new TextDecoder('utf-8', { fatal: true });
/** Older writers do not mark texts as such: what reads as one is one. */
function bytesText(bytes: Uint8Array): string {
  try {
    const text = utf8.decode(bytes);
    if (!/[\u0000-\u0008\u000e-\u001f]/.test(text)) return text;
  } catch {
    // not a text
  }
  return hex(bytes);
}

const hex = (bytes: Uint8Array): string =>
  [...bytes.subarray(0, SHOWN)].map((byte) => byte.toString(16).padStart(2, '0')).join(' ') + (bytes.length > SHOWN ? ' …' : '');

/** JSON knows neither large integers nor bytes. */
function plain(_: string, value: unknown): unknown {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  return value instanceof Uint8Array ? bytesText(value) : value;
}
