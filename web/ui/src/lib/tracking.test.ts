// What tracking makes of what the API sends.
import { describe, expect, it } from 'vitest';
import { aligned, columnId, columnOf, columnsOf, curvesOf, placeOf, smooth, usualColumns, valueOf, type MetricPoint, type TrackedRun } from './tracking';

const point = (run_id: string, step: number, value: number | string, timestamp = step * 1000): MetricPoint => ({ key: 'loss', run_id, step, value, timestamp });
const run = (metrics: Record<string, number>, params: Record<string, string>): TrackedRun => ({
  info: { run_id: 'r', run_name: 'r', experiment_id: '1', user_id: 'a', status: 'FINISHED', start_time: 1, artifact_uri: '', lifecycle_stage: 'active' },
  data: {
    metrics: Object.entries(metrics).map(([key, value]) => ({ key, value, timestamp: 1, step: 0 })),
    params: Object.entries(params).map(([key, value]) => ({ key, value })),
    tags: [{ key: 'mlflow.user', value: 'x' }, { key: 'team', value: 'vision' }],
  },
});

describe('columns', () => {
  it('are named as the search language names them', () => {
    expect(columnId('metrics', 'val loss')).toBe('metrics.`val loss`');
    for (const [field, key] of [['metrics', 'val loss'], ['params', 'a.b'], ['tags', 'x-y']] as const) expect(columnOf(columnId(field, key))).toEqual({ field, key });
    expect(columnOf('attributes.start_time')).toBeUndefined();
  });
  it('come by how many runs have them, without what MLflow keeps for itself', () => {
    const runs = [run({ loss: 1, rare: 2 }, { rate: '1' }), run({ loss: 3 }, { rate: '2' })];
    expect(columnsOf(runs)).toEqual(['metrics.loss', 'params.rate', 'tags.team', 'metrics.rare']);
    expect(usualColumns(columnsOf(runs))).toEqual(['metrics.loss', 'metrics.rare', 'params.rate']);
    expect(valueOf(run({ 'val loss': 0.5 }, {}), 'metrics.`val loss`')).toBe(0.5);
  });
});

describe('curves', () => {
  const points = [point('a', 1, 3), point('b', 2, 'NaN'), point('a', 0, 5), point('b', 0, 1)];
  it('stand by run and step, with gaps where there is no number', () => {
    const curves = curvesOf(points, (id) => `run ${id}`, 'step');
    expect(curves[0]).toEqual({ id: 'a', label: 'run a', points: [{ x: 0, y: 5 }, { x: 1, y: 3 }] });
    expect(aligned(curves)).toEqual([[0, 1, 2], [5, 3, null], [1, null, null]]);
    expect(curvesOf(points, String, 'time')[1]?.points).toEqual([{ x: 0, y: 1 }, { x: 2, y: null }]);
  });
  it('are smoothed without a pull to 0', () => {
    const flat = { id: 'a', label: 'a', points: [0, 1, 2].map((x) => ({ x, y: 4 })) };
    for (const { y } of smooth(flat, 0.9).points) expect(y).toBeCloseTo(4);
    expect(smooth(flat, 0)).toEqual(flat);
  });
});

it('files of a run are in a bucket of its namespace', () => {
  expect(placeOf('ada', 'mlflow-artifacts:/1/abc/artifacts')).toEqual({ bucket: 'mlflow-ada', prefix: '1/abc/artifacts/' });
  expect(placeOf('ada', 's3://models/x')).toEqual({ bucket: 'models', prefix: 'x/' });
  expect(placeOf('ada', 'runs:/abc/model')).toBeUndefined();
});
