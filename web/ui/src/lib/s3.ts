// S3 as the browser needs it: addresses of buckets and objects, what the answers say, and cutting CSV. Pure.

/**
 * Where an object is: a key may hold any character. Browsers fold segments of dots away, however they are escaped,
 * and would ask for another object: the slashes of such a key are escaped as well, which the box reads as the same.
 */
export function objectUrl(ns: string, bucket: string, key = ''): string {
  const place = `/s3/${encodeURIComponent(ns)}/${encodeURIComponent(bucket)}`;
  if (key === '') return place;
  const parts = key.split('/');
  const slash = parts.some((part) => part === '.' || part === '..') ? '%2F' : '/';
  return `${place}${slash}${parts.map(escape).join(slash)}`;
}

/** `encodeURIComponent`, and what S3's canonical form escapes besides. */
const escape = (part: string): string => encodeURIComponent(part).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);

export interface Bucket {
  name: string;
  created: string;
}

export interface S3Object {
  key: string;
  size: number;
  modified: string;
  etag: string;
}

/** One page of a folder: the folders in it by their whole prefix, and the objects. */
export interface Listing {
  folders: string[];
  objects: S3Object[];
  next?: string;
}

const children = (node: Document | Element, name: string): Element[] => [...node.getElementsByTagName(name)];
const text = (node: Document | Element, name: string): string => node.getElementsByTagName(name)[0]?.textContent ?? '';
const parse = (xml: string): Document => new DOMParser().parseFromString(xml, 'application/xml');
/** An answer that cannot be read must not look like an empty one. */
function read(xml: string): Document {
  const answer = parse(xml);
  if (answer.getElementsByTagName('parsererror').length > 0) throw new Error('A key here holds characters that the browser cannot read: use an S3 client, such as boto3.');
  return answer;
}

export const bucketsOf = (xml: string): Bucket[] =>
  children(read(xml), 'Bucket').map((node) => ({ name: text(node, 'Name'), created: text(node, 'CreationDate') }));

export function listingOf(xml: string): Listing {
  const page = read(xml);
  const next = text(page, 'NextContinuationToken');
  return {
    folders: children(page, 'CommonPrefixes').map((node) => text(node, 'Prefix')),
    objects: children(page, 'Contents').map((node) => ({
      key: text(node, 'Key'),
      size: Number(text(node, 'Size')),
      modified: text(node, 'LastModified'),
      etag: text(node, 'ETag').replaceAll('"', ''),
    })),
    next: next === '' ? undefined : next,
  };
}

/** Code and message of an error document; undefined when it is none. */
export function errorOf(xml: string): { code: string; message: string } | undefined {
  if (!xml.includes('<Error>')) return undefined;
  const error = parse(xml);
  const code = text(error, 'Code');
  return code === '' ? undefined : { code, message: text(error, 'Message') || code };
}

/** The request body that deletes these keys. */
export function deletion(keys: string[]): string {
  const entity: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '\r': '&#13;', '\n': '&#10;', '\t': '&#9;' };
  const objects = keys.map((key) => `<Object><Key>${key.replace(/[&<>\r\n\t]/g, (c) => entity[c] ?? c)}</Key></Object>`);
  return `<Delete><Quiet>true</Quiet>${objects.join('')}</Delete>`;
}

export type Preview = 'text' | 'table' | 'image';
/** How an object can be looked at, by its name. */
export function previewOf(key: string): Preview | undefined {
  const end = /\.([a-z0-9]+)$/i.exec(key)?.[1]?.toLowerCase() ?? '';
  if (['csv', 'tsv'].includes(end)) return 'table';
  if (['png', 'jpg', 'jpeg', 'gif', 'webp', 'bmp', 'ico'].includes(end)) return 'image';
  if (['txt', 'log', 'json', 'jsonl', 'yaml', 'yml', 'md', 'py', 'toml', 'ini', 'cfg', 'sh', 'xml', 'html', 'svg', 'sql', 'r', 'rs', 'js', 'ts', 'conf'].includes(end)) return 'text';
  return undefined;
}

/** The first rows of a CSV (RFC 4180) or, by its first line, of a TSV. The last row may be cut off: it is left out. */
export function rowsOf(csv: string, most: number, whole: boolean): string[][] {
  const first = csv.slice(0, csv.search(/\r?\n|$/));
  const comma = first.includes('\t') && !first.includes(',') ? '\t' : ',';
  const rows: string[][] = [];
  let row: string[] = [];
  let cell = '';
  let quoted = false;
  for (let i = 0; i < csv.length && rows.length < most; i += 1) {
    const c = csv.charAt(i);
    if (quoted) {
      if (c !== '"') cell += c;
      else if (csv.charAt(i + 1) === '"') {
        cell += c;
        i += 1;
      } else quoted = false;
    } else if (c === '"' && cell === '') quoted = true;
    else if (c === comma || c === '\n') {
      row.push(cell.replace(/\r$/, ''));
      cell = '';
      if (c === '\n') {
        rows.push(row);
        row = [];
      }
    } else cell += c;
  }
  if (whole && rows.length < most && (cell !== '' || row.length > 0)) rows.push([...row, cell]);
  return rows;
}
