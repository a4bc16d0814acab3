// What is wrong with a manifest, and where in its text. Pure; apart from jobs.ts, so that only editors load YAML.
import { isMap, LineCounter, parseDocument } from 'yaml';
import type { JsonMap } from '../api/types';

export interface FieldError {
  field?: string;
  message: string;
  /** From 1. */
  line?: number;
}

/** The fields that an answer names: its causes, else what its message says. */
export function fieldErrors(message: string, causes: readonly { field?: string; message?: string }[] = []): FieldError[] {
  if (causes.length > 0) return causes.map((cause) => ({ field: cause.field, message: cause.message ?? message }));
  const unknown = [...message.matchAll(/unknown field "([^"]+)"/g)];
  if (unknown.length > 0) return unknown.map(([, field]) => ({ field, message: `there is no field ${field}` }));
  const named = /(?:^|: |\s)((?:spec|metadata|apiVersion|kind)(?:\.[\w/-]+|\[[^\]]*\])*): (.+)$/s.exec(message);
  return named === null ? [{ message }] : [{ field: named[1], message: named[2] ?? message }];
}

/** "spec.containers[0].name" as a path. */
export const fieldPath = (field: string): (string | number)[] =>
  [...field.matchAll(/\[(\d+)\]|\["?([^\]"]+)"?\]|([^.[\]]+)/g)].map(([, index, quoted, word]) =>
    index !== undefined ? Number(index) : (quoted ?? word ?? ''),
  );

/** Errors with the line they belong to: the field's own, or of the nearest parent that is written down. */
export function locate(text: string, errors: readonly FieldError[]): FieldError[] {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  return errors.map((error) => {
    for (let path = fieldPath(error.field ?? ''); path.length > 0; path = path.slice(0, -1)) {
      const parent = document.getIn(path.slice(0, -1), true) ?? document.contents;
      const last = path.at(-1);
      const pair = isMap(parent) ? parent.items.find((item) => String(item.key) === last) : undefined;
      const node = (pair?.key ?? (typeof last === 'number' ? document.getIn(path, true) : undefined)) as { range?: number[] } | undefined;
      const offset = node?.range?.[0];
      if (offset !== undefined) return { ...error, line: lines.linePos(offset).line };
    }
    return { ...error };
  });
}

/** What is wrong before the box is asked: text that is no YAML, or that names no kind. */
export function parseManifest(text: string): { object?: JsonMap; errors: FieldError[] } {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  if (document.errors.length > 0) {
    return { errors: document.errors.map((error) => ({ message: error.message.split('\n')[0] ?? '', line: lines.linePos(error.pos[0]).line })) };
  }
  const object = document.toJS() as unknown;
  if (typeof object !== 'object' || object === null || Array.isArray(object)) return { errors: [{ message: 'Write one object: apiVersion, kind, metadata, spec.' }] };
  const map = object as JsonMap;
  if (typeof map.kind !== 'string' || typeof map.apiVersion !== 'string') return { errors: [{ message: 'apiVersion and kind say what it is: both are needed.' }] };
  return { object: map, errors: [] };
}
