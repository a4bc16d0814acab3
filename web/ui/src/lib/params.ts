// The start-run form's rules: text in a field <-> the JSON value the API wants, with an error a person can mend. Pure.
import type { Json, JsonMap, ParameterSpec, ParameterType } from '../api/types';

export type FieldKind = 'integer' | 'number' | 'text' | 'boolean' | 'list' | 'struct' | 'choice';

export function fieldKind(spec: ParameterSpec): FieldKind {
  if (spec.literals !== undefined && spec.literals.length > 0) return 'choice';
  const kinds: Partial<Record<ParameterType, FieldKind>> = {
    NUMBER_INTEGER: 'integer',
    NUMBER_DOUBLE: 'number',
    BOOLEAN: 'boolean',
    LIST: 'list',
    STRUCT: 'struct',
  };
  return kinds[spec.parameterType ?? 'STRING'] ?? 'text';
}

export const isRequired = (spec: ParameterSpec): boolean => spec.defaultValue === undefined && spec.isOptional !== true;

/** What the field shows for a value. The IR carries integers as floats ("3.0" parses to 3 already). */
export function toField(value: Json | undefined, kind: FieldKind): string {
  if (value === undefined || value === null) return '';
  if (kind === 'list' || kind === 'struct') return JSON.stringify(value, null, 1).replace(/\n\s*/g, ' ');
  return typeof value === 'string' ? value : JSON.stringify(value);
}

export type Coerced = { ok: true; value: Json | undefined } | { ok: false; error: string };

/** `undefined` means: leave the parameter out, the box uses the default. */
export function coerce(text: string, spec: ParameterSpec): Coerced {
  const kind = fieldKind(spec);
  const trimmed = text.trim();
  // An empty text field is an empty string where the author allowed text; every other empty field is "not given".
  if (trimmed === '' && !(kind === 'text' && spec.defaultValue !== undefined)) {
    return isRequired(spec) ? { ok: false, error: 'Required: this parameter has no default.' } : { ok: true, value: undefined };
  }
  switch (kind) {
    case 'text':
      return { ok: true, value: text };
    case 'integer': {
      const parsed = Number(trimmed);
      if (!/^[+-]?\d+$/.test(trimmed) || !Number.isSafeInteger(parsed)) {
        return { ok: false, error: 'A whole number, such as 10.' };
      }
      return { ok: true, value: parsed };
    }
    case 'number': {
      const parsed = Number(trimmed);
      if (!Number.isFinite(parsed)) return { ok: false, error: 'A number, such as 0.01 or 1e-4.' };
      return { ok: true, value: parsed };
    }
    case 'boolean':
      if (trimmed === 'true') return { ok: true, value: true };
      if (trimmed === 'false') return { ok: true, value: false };
      return { ok: false, error: 'true or false.' };
    case 'choice': {
      const choice = spec.literals?.find((literal) => toField(literal, 'choice') === text);
      return choice === undefined ? { ok: false, error: 'Choose one of the listed values.' } : { ok: true, value: choice };
    }
    case 'list':
    case 'struct':
      return json(trimmed, kind);
  }
}

function json(text: string, kind: 'list' | 'struct'): Coerced {
  let parsed: Json;
  try {
    parsed = JSON.parse(text) as Json;
  } catch (error) {
    return { ok: false, error: `Not valid JSON: ${error instanceof Error ? error.message : 'cannot be read'}` };
  }
  if (kind === 'list' && !Array.isArray(parsed)) return { ok: false, error: 'A JSON list, such as [1, 2, 3].' };
  if (kind === 'struct' && (parsed === null || typeof parsed !== 'object' || Array.isArray(parsed))) {
    return { ok: false, error: 'A JSON object, such as {"depth": 3}.' };
  }
  return { ok: true, value: parsed };
}

/** All fields at once: the parameters to send, and the fields that are wrong. */
export function coerceAll(
  fields: Readonly<Record<string, string>>,
  specs: readonly [string, ParameterSpec][],
): { parameters: JsonMap; errors: Record<string, string> } {
  const parameters: JsonMap = {};
  const errors: Record<string, string> = {};
  for (const [name, spec] of specs) {
    const result = coerce(fields[name] ?? '', spec);
    if (!result.ok) errors[name] = result.error;
    else if (result.value !== undefined) parameters[name] = result.value;
  }
  return { parameters, errors };
}

/** Fields filled from defaults, overlaid with the values of a run that is cloned. */
export function initialFields(specs: readonly [string, ParameterSpec][], given: JsonMap = {}): Record<string, string> {
  return Object.fromEntries(
    specs.map(([name, spec]) => [name, toField(name in given ? given[name] : spec.defaultValue, fieldKind(spec))]),
  );
}

const typeWords: Partial<Record<ParameterType, string>> = {
  NUMBER_INTEGER: 'integer',
  NUMBER_DOUBLE: 'number',
  STRING: 'text',
  BOOLEAN: 'true / false',
  LIST: 'list (JSON)',
  STRUCT: 'object (JSON)',
};
export const typeWord = (spec: ParameterSpec): string =>
  spec.literals !== undefined ? 'choice' : (typeWords[spec.parameterType ?? 'STRING'] ?? 'text');
