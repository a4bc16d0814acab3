// @vitest-environment node
import { expect, it } from 'vitest';
import { endOfDay, isOver, opens, pairOf, rulesFrom, shellHere, shellInPods } from './keys';

it('what a key opens is said in words', () => {
  expect(opens(undefined, 'ada')).toEqual(['All buckets of the namespace: read and write']);
  expect(opens([], 'kubeflow-system')).toEqual(['All buckets of the box: read and write']);
  expect(opens([{ bucket: 'data' }, { bucket: 'data', prefix: 'raw/', role: 'edit' }], 'ada')).toEqual(['data: read', 'data/raw/: read and write']);
});

it('lines are rules', () => {
  expect(rulesFrom(' data \n\ns3://data/raw/x\nother/\n', 'view')).toEqual([
    { bucket: 'data', role: 'view' },
    { bucket: 'data', prefix: 'raw/x', role: 'view' },
    { bucket: 'other', role: 'view' },
  ]);
  expect(rulesFrom(' \n', 'edit')).toEqual([]);
});

it('a key is good to the end of its last day', () => {
  expect(endOfDay('')).toBeUndefined();
  expect(endOfDay('someday')).toBeUndefined();
  const end = endOfDay('2027-01-31') ?? '';
  expect(new Date(end).getHours()).toBe(23);
  expect([isOver(end, Date.parse(end)), isOver(end, Date.parse(end) - 1), isOver(undefined, Date.now())]).toEqual([true, false, false]);
});

it('a Secret holds the pair, or is none of a key', () => {
  expect(pairOf({ AWS_ACCESS_KEY_ID: btoa('a.ada'), AWS_SECRET_ACCESS_KEY: btoa('s') })).toEqual({ id: 'a.ada', secret: 's' });
  expect(pairOf({ password: btoa('x') })).toBeUndefined();
  expect(pairOf(undefined)).toBeUndefined();
});

it('snippets for shells', () => {
  expect(shellHere('ada', 'k')).toBe('eval "$(kfbox s3 env --namespace ada --key k)"');
  expect(shellInPods({ id: 'k.ada', secret: "s'" })).toContain(`AWS_ACCESS_KEY_ID='k.ada'\nexport AWS_SECRET_ACCESS_KEY='s'\\'''\n`);
});
