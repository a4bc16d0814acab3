// The form of a new notebook: names, what fits, what is wrong, and what is sent.
import { expect, test } from 'vitest';
import type { PodDefaultObject, Room } from '../api/types';
import { BLANK, defaultsFor, fit, freeCpu, freeMemory, freeName, isEmptyProblem, manifests, nameProblem, problemsOf, type NotebookForm } from './notebookForm';
import { cpuQuantity, floorTo, gibQuantity, GIB, parseQuantity } from './quantity';

const room = (cpu: number, memory: number): Room => ({ cpu: { total: 2, free: cpu }, memory: { total: 16 * GIB, free: memory * GIB }, disk: { total: 1, free: 1 } });
const form = (patch: Partial<NotebookForm> = {}): NotebookForm => ({ ...BLANK, name: 'work', image: 'kfbox/notebook:1', ...patch });
const around = { notebooks: ['old'], claims: ['data', 'old-workspace'] };

test('the first free name, also of its volume', () => {
  expect(freeName([], [])).toBe('notebook-1');
  expect(freeName(['notebook-1'], ['notebook-2-workspace'])).toBe('notebook-3');
});

test('names are DNS labels of at most 52 characters', () => {
  expect(nameProblem('a-1')).toBeUndefined();
  expect(nameProblem('a'.repeat(52))).toBeUndefined();
  expect(nameProblem('a'.repeat(53))).toContain('52');
  for (const bad of ['', 'A', 'a.b', 'a_b', '-a', 'a-', 'ä', 'a b']) expect(nameProblem(bad), bad).toBeDefined();
});

test('amounts', () => {
  expect(['500m', '2', 1.5, '2Gi', '1G', '1e3', 'x', '1Q', undefined].map(parseQuantity)).toEqual([0.5, 2, 1.5, 2 * GIB, 1e9, 1000, undefined, undefined, undefined]);
  expect([cpuQuantity(1), cpuQuantity(1.5), gibQuantity(2), gibQuantity(0.25)]).toEqual(['1', '1500m', '2Gi', '256Mi']);
  expect([floorTo(0.3, 0.1), floorTo(1.99, 0.25), floorTo(0.05, 0.1)]).toEqual([0.3, 1.75, 0]);
});

test('defaults are lowered to what is free', () => {
  expect(defaultsFor(undefined)).toEqual({ cpu: 1, memory: 2 });
  expect(defaultsFor(room(2, 16))).toEqual({ cpu: 1, memory: 2 });
  expect(defaultsFor(room(0.55, 1.9))).toEqual({ cpu: 0.5, memory: 1.75 });
  // Nothing is free: it waits, so it may as well ask for the usual.
  expect(defaultsFor(room(0, 0.1))).toEqual({ cpu: 1, memory: 2 });
});

test('what is free, and what does not fit, in words', () => {
  expect(freeCpu(room(1.5, 1))).toBe('1.5 of 2 CPUs are free');
  expect(freeMemory(room(1.5, 3))).toBe('3 of 16 GiB are free');
  expect(fit(undefined, 99, 99)).toEqual({});
  expect(fit(room(2, 16), 2, 16)).toEqual({});
  expect(fit(room(1.5, 4), 2, 2)).toEqual({ wait: 'It will wait until there is room, because it asks for 2 CPUs (free: 1.5 CPUs). 1.5 CPUs and 2 GiB would fit right now.' });
  expect(fit(room(1, 4.3), 2, 8).wait).toContain('2 CPUs (free: 1 CPU) and 8 GiB of memory (free: 4.3 GiB). 1 CPU and 4.25 GiB would fit right now.');
  expect(fit(room(0, 4), 1, 2).wait).toContain('Nothing fits right now');
  expect(fit(room(1, 4), 3, 17)).toEqual({ cpu: 'The box has 2 CPUs in all.', memory: 'The box has 16 GiB in all.' });
});

test('what is wrong stands at its field', () => {
  const row = { id: 1, fresh: false, claim: 'data', size: 10, path: '/data', readOnly: false };
  expect(problemsOf(form(), around)).toEqual({});
  expect(problemsOf(form({ data: [row], env: [{ id: 1, name: 'A', value: '' }] }), around)).toEqual({});
  const at = (patch: Partial<NotebookForm>, known = {}) => Object.keys(problemsOf(form(patch), { ...around, ...known }));
  expect(at({ name: 'old' })).toEqual(['name', 'workspace']);
  expect(at({ name: 'old', workspace: 'none' })).toEqual(['name']);
  expect(at({ image: ' ' })).toEqual(['image']);
  expect(at({ cpu: 0, memory: -1 })).toEqual(['cpu', 'memory']);
  expect(at({ cpu: 3 }, { room: room(1, 1) })).toEqual(['cpu']);
  // What must wait is no fault.
  expect(at({ cpu: 2 }, { room: room(1, 1) })).toEqual([]);
  expect(at({ workspace: 'existing' })).toEqual(['workspace']);
  expect(at({ size: 0 })).toEqual(['workspace']);
  expect(at({ data: [{ ...row, claim: '' }] })).toEqual(['data.1.claim']);
  expect(at({ data: [{ ...row, fresh: true }] })).toEqual(['data.1.claim']);
  expect(at({ data: [{ ...row, fresh: true, claim: 'work-workspace' }] })).toEqual(['data.1.claim']);
  for (const path of ['', 'data', '/', '/home/jovyan/', '/a/../b', '/a:b']) expect(at({ data: [{ ...row, path }] }), path).toEqual(['data.1.path']);
  expect(at({ data: [row, { ...row, id: 2, path: '/data/' }] })).toEqual(['data.2.path']);
  expect(at({ shm: 3 })).toEqual(['shm']);
  expect(at({ env: [{ id: 1, name: '1A', value: '' }, { id: 2, name: 'B', value: '' }, { id: 3, name: 'B', value: '' }] })).toEqual(['env.1.name', 'env.3.name']);
  expect(isEmptyProblem(problemsOf(form({ name: '' }), around).name)).toBe(true);
  expect(isEmptyProblem(problemsOf(form({ name: 'A' }), around).name)).toBe(false);
  expect(isEmptyProblem(problemsOf(form({ cpu: 0 }), around).cpu)).toBe(false);
});

test('the usual notebook', () => {
  expect(manifests(form(), 'ns', [])).toEqual({
    claims: [{ apiVersion: 'v1', kind: 'PersistentVolumeClaim', metadata: { name: 'work-workspace', namespace: 'ns' }, spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '10Gi' } } } }],
    notebook: {
      apiVersion: 'kubeflow.org/v1',
      kind: 'Notebook',
      metadata: { name: 'work', namespace: 'ns' },
      spec: { template: { spec: {
        containers: [{
          name: 'work',
          image: 'kfbox/notebook:1',
          resources: { requests: { cpu: '1', memory: '2Gi' }, limits: { cpu: '1', memory: '2Gi' } },
          volumeMounts: [{ name: 'workspace', mountPath: '/home/jovyan' }],
        }],
        volumes: [{ name: 'workspace', persistentVolumeClaim: { claimName: 'work-workspace' } }],
      } } },
    },
  });
});

test('everything at once, and nothing at all', () => {
  const preset = (name: string, matchLabels: Record<string, string>) => ({ metadata: { name }, spec: { selector: { matchLabels } } }) as PodDefaultObject;
  const { claims, notebook } = manifests(
    form({
      workspace: 'existing', claim: 'data', shm: 0.5, idle: '2h', presets: ['a', 'b'],
      data: [
        { id: 1, fresh: true, claim: 'new', size: 5, path: '/new/', readOnly: false },
        { id: 2, fresh: false, claim: 'data', size: 10, path: '/ro', readOnly: true },
      ],
      env: [{ id: 1, name: 'A', value: 'b' }],
    }),
    'ns',
    [preset('a', { x: '1' }), preset('b', { y: '2' }), preset('c', { z: '3' })],
  );
  expect(claims.map((each) => (each.metadata as { name: string }).name)).toEqual(['new']);
  expect(notebook.metadata).toEqual({ name: 'work', namespace: 'ns', labels: { x: '1', y: '2' }, annotations: { 'kfbox.dev/idle-timeout': '2h' } });
  const { containers, volumes } = (notebook as unknown as { spec: { template: { spec: { containers: Record<string, unknown>[]; volumes: unknown[] } } } }).spec.template.spec;
  expect(containers[0]?.env).toEqual([{ name: 'A', value: 'b' }]);
  expect(containers[0]?.volumeMounts).toEqual([
    { name: 'workspace', mountPath: '/home/jovyan' },
    { name: 'data-1', mountPath: '/new' },
    { name: 'workspace', mountPath: '/ro', readOnly: true },
    { name: 'shm', mountPath: '/dev/shm' },
  ]);
  expect(volumes).toEqual([
    { name: 'workspace', persistentVolumeClaim: { claimName: 'data' } },
    { name: 'data-1', persistentVolumeClaim: { claimName: 'new' } },
    { name: 'shm', emptyDir: { medium: 'Memory', sizeLimit: '512Mi' } },
  ]);
  const bare = manifests(form({ workspace: 'none' }), 'ns', []);
  expect(bare.claims).toEqual([]);
  expect(JSON.stringify(bare.notebook)).not.toMatch(/volume|env/);
});
