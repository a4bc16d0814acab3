// The fields of the start form, from the parameters of a pipeline.
import { describe, expect, it } from 'vitest';
import type { ParameterSpec } from '../api/types';
import { coerce, coerceAll, initialFields, isRequired, toField } from './params';

const spec = (parameterType: ParameterSpec['parameterType'], rest: Partial<ParameterSpec> = {}): ParameterSpec => ({ parameterType, ...rest });
const value = (text: string, s: ParameterSpec) => {
  const result = coerce(text, s);
  return result.ok ? result.value : `error: ${result.error}`;
};

describe('coerce', () => {
  it('reads each type', () => {
    expect(value('10', spec('NUMBER_INTEGER'))).toBe(10);
    expect(value('-1e-3', spec('NUMBER_DOUBLE'))).toBe(-0.001);
    expect(value(' a b ', spec('STRING'))).toBe(' a b ');
    expect(value('true', spec('BOOLEAN'))).toBe(true);
    expect(value('[1, "x"]', spec('LIST'))).toEqual([1, 'x']);
    expect(value('{"a": null}', spec('STRUCT'))).toEqual({ a: null });
    expect(value('2', spec('NUMBER_INTEGER', { literals: [1, 2] }))).toBe(2);
  });

  it('refuses what does not fit, in words', () => {
    for (const [text, s] of [
      ['1.5', spec('NUMBER_INTEGER')],
      ['99999999999999999999', spec('NUMBER_INTEGER')],
      ['x', spec('NUMBER_DOUBLE')],
      ['yes', spec('BOOLEAN')],
      ['{}', spec('LIST')],
      ['[]', spec('STRUCT')],
      ['{', spec('STRUCT')],
      ['3', spec('NUMBER_INTEGER', { literals: [1, 2] })],
    ] as const) {
      expect(coerce(text, s).ok, text).toBe(false);
    }
  });

  it('leaves an empty field out when the box can fill it, and asks for it when not', () => {
    expect(value('', spec('NUMBER_INTEGER', { defaultValue: 3 }))).toBeUndefined();
    expect(value('', spec('STRING', { isOptional: true }))).toBeUndefined();
    expect(value('', spec('STRING', { defaultValue: 'x' }))).toBe('');
    expect(coerce('', spec('STRING')).ok).toBe(false);
  });
});

describe('fields', () => {
  it('shows a float default of an integer as an integer', () => {
    expect(toField(3.0, 'integer')).toBe('3');
  });

  it('prefers what a cloned run gave over defaults, and round-trips', () => {
    const specs: [string, ParameterSpec][] = [
      ['rate', spec('NUMBER_DOUBLE', { defaultValue: 0.1 })],
      ['grid', spec('STRUCT', { defaultValue: { a: [1] } })],
      ['name', spec('STRING')],
    ];
    const fields = initialFields(specs, { rate: 0.5, name: 'ada' });
    expect(coerceAll(fields, specs)).toEqual({ parameters: { rate: 0.5, grid: { a: [1] }, name: 'ada' }, errors: {} });
    expect(Object.keys(coerceAll(initialFields(specs), specs).errors)).toEqual(['name']);
  });

  it('knows what is required', () => {
    expect(isRequired(spec('STRING'))).toBe(true);
    expect(isRequired(spec('STRING', { isOptional: true }))).toBe(false);
    expect(isRequired(spec('STRING', { defaultValue: '' }))).toBe(false);
  });
});
