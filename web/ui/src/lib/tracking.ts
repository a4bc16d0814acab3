// Experiments, runs and metrics in MLflow's words: what the API sends, and what the pages make of it. Pure.
import { number } from './format';

export interface KeyValue {
  key: string;
  value: string;
}

export interface TrackedExperiment {
  experiment_id: string;
  name: string;
  artifact_location: string;
  lifecycle_stage: 'active' | 'deleted';
  /** Milliseconds since 1970, as are all times here. */
  creation_time: number;
  last_update_time: number;
  tags?: KeyValue[];
}

/** JSON has no NaN: it and the infinities come as text. */
export interface MetricPoint {
  key: string;
  value: number | string;
  timestamp: number;
  step: number;
  run_id?: string;
}

export interface TrackedRun {
  info: {
    run_id: string;
    run_name: string;
    experiment_id: string;
    user_id: string;
    status: string;
    start_time: number;
    end_time?: number;
    artifact_uri: string;
    lifecycle_stage: 'active' | 'deleted';
  };
  data: { metrics: MetricPoint[]; params: KeyValue[]; tags: KeyValue[] };
  inputs?: { dataset_inputs?: { dataset: { name: string; digest: string; source_type: string; source: string } }[] };
  outputs?: { model_outputs?: { model_id: string; step: number }[] };
}

export interface LoggedModel {
  info: { model_id: string; name: string; status: string; artifact_uri: string };
}

export interface FileInfo {
  path: string;
  is_dir: boolean;
  file_size?: number;
}

/** MLflow's states as the rest of the UI shows states. */
export const stateOf = (run: TrackedRun): string =>
  ({ FINISHED: 'FINISHED', FAILED: 'FAILED', KILLED: 'KILLED', SCHEDULED: 'PENDING' })[run.info.status] ?? 'RUNNING';

export const time = (ms: number | undefined): string | undefined => (ms === undefined || ms <= 0 ? undefined : new Date(ms).toISOString());

/** Tags that MLflow's client writes for itself. */
export const ownTags = (run: TrackedRun): KeyValue[] => run.data.tags.filter((tag) => !tag.key.startsWith('mlflow.'));
export const tag = (run: TrackedRun, key: string): string | undefined => run.data.tags.find((each) => each.key === key)?.value;

/** Where the files of an artifact URI are, when the box has them. */
export function placeOf(ns: string, uri: string): { bucket: string; prefix: string } | undefined {
  const own = /^mlflow-artifacts:\/+(.*)$/.exec(uri)?.[1];
  if (own !== undefined) return { bucket: `mlflow-${ns}`, prefix: own.replace(/\/*$/, '/') };
  const other = /^(?:s3|minio):\/\/([^/]+)\/(.*)$/.exec(uri);
  return other === null ? undefined : { bucket: other[1] ?? '', prefix: (other[2] ?? '').replace(/\/*$/, '/') };
}

export type Field = 'metrics' | 'params' | 'tags';

/** A field as the search language and the column's id name it. */
export const columnId = (field: Field, key: string): string => `${field}.${/^[\w.]+$/.test(key) ? key : `\`${key}\``}`;
export function columnOf(id: string): { field: Field; key: string } | undefined {
  const found = /^(metrics|params|tags)\.(?:`(.*)`|(.*))$/.exec(id);
  return found === null ? undefined : { field: found[1] as Field, key: found[2] ?? found[3] ?? '' };
}

/** All columns that these runs could have, those of most runs first. */
export function columnsOf(runs: TrackedRun[]): string[] {
  const count = new Map<string, number>();
  for (const run of runs) {
    for (const field of ['metrics', 'params'] as const) {
      for (const each of run.data[field]) {
        const id = columnId(field, each.key);
        count.set(id, (count.get(id) ?? 0) + 1);
      }
    }
    for (const each of ownTags(run)) count.set(columnId('tags', each.key), (count.get(columnId('tags', each.key)) ?? 0) + 1);
  }
  return [...count].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0])).map(([id]) => id);
}

/** The columns shown unless others are chosen: some metrics, then some params, of which several values exist. */
export function usualColumns(all: string[]): string[] {
  const of = (field: Field, most: number) => all.filter((id) => id.startsWith(`${field}.`)).slice(0, most);
  return [...of('metrics', 4), ...of('params', 3)];
}

export function valueOf(run: TrackedRun, id: string): string | number | undefined {
  const column = columnOf(id);
  if (column === undefined) return undefined;
  const all: { key: string; value: string | number }[] = run.data[column.field];
  return all.find((each) => each.key === column.key)?.value;
}

export const shown = (value: string | number | undefined): string => (value === undefined ? '' : typeof value === 'number' ? number(value) : value);

export interface Curve {
  id: string;
  label: string;
  points: { x: number; y: number | null }[];
}

export type Axis = 'step' | 'time';

/** The points of one metric as curves, one for each run; time counts from each run's first point, in seconds. */
export function curvesOf(points: MetricPoint[], label: (runId: string) => string, axis: Axis): Curve[] {
  const byRun = new Map<string, MetricPoint[]>();
  for (const point of points) byRun.set(point.run_id ?? '', [...(byRun.get(point.run_id ?? '') ?? []), point]);
  return [...byRun].map(([id, all]) => {
    const first = Math.min(...all.map((point) => point.timestamp));
    const xs = all.map((point) => ({
      x: axis === 'step' ? point.step : (point.timestamp - first) / 1000,
      y: typeof point.value === 'number' && Number.isFinite(point.value) ? point.value : null,
    }));
    return { id, label: label(id), points: xs.sort((a, b) => a.x - b.x) };
  });
}

/** Exponential smoothing without the pull to 0 at the start, as TensorBoard's; 0 = none, below 1. */
export function smooth(curve: Curve, weight: number): Curve {
  let last = 0;
  let seen = 0;
  const points = curve.points.map(({ x, y }) => {
    if (y === null) return { x, y };
    seen += 1;
    last = last * weight + (1 - weight) * y;
    return { x, y: weight === 0 ? y : last / (1 - weight ** seen) };
  });
  return { ...curve, points };
}

/** Curves on one axis: all x in order, and for each curve its y there or nothing. The last of several points at an x counts. */
export function aligned(curves: Curve[]): [number[], ...(number | null)[][]] {
  const xs = [...new Set(curves.flatMap((curve) => curve.points.map((point) => point.x)))].sort((a, b) => a - b);
  const at = new Map(xs.map((x, i) => [x, i]));
  const columns = curves.map((curve) => {
    const column = new Array<number | null>(xs.length).fill(null);
    for (const { x, y } of curve.points) column[at.get(x) ?? 0] = y;
    return column;
  });
  return [xs, ...columns];
}

/** What to set for a client to find this box. */
export const setUp = (origin: string, ns: string): string =>
  `export MLFLOW_TRACKING_URI=${origin}/mlflow/${ns}\nexport MLFLOW_TRACKING_TOKEN=$(kfbox token create --role edit --namespace ${ns})`;

export const example = `import mlflow

mlflow.set_experiment("digits")
with mlflow.start_run():
    mlflow.log_param("rate", 0.1)
    for step in range(100):
        mlflow.log_metric("loss", 1 / (step + 1), step=step)`;
