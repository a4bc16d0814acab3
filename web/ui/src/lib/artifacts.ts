// Artifacts: where their bytes are on the box, and what their metadata says (metrics, confusion matrix, ROC). Pure.
import type { Artifact, Json, JsonMap } from '../api/types';

/** `minio://bucket/a b` -> `/artifacts/minio/bucket/a%20b`; undefined for a place the box does not serve. */
export function artifactUrl(uri: string | undefined): string | undefined {
  const match = /^([a-z][a-z0-9]*):\/\/([^/]+)\/(.+)$/.exec(uri ?? '');
  if (match === null) return undefined;
  const [, scheme, bucket, key] = match;
  if (scheme === undefined || bucket === undefined || key === undefined) return undefined;
  if (scheme === 'http' || scheme === 'https') return undefined;
  const parts = key.split('/');
  if (parts.some((part) => part === '..' || part === '.')) return undefined;
  return `/artifacts/${scheme}/${encodeURIComponent(bucket)}/${parts.map(encodeURIComponent).join('/')}`;
}

export const shortType = (type: string | undefined): string => (type ?? 'system.Artifact').replace(/^system\./, '');

export type View = 'metrics' | 'classification' | 'html' | 'markdown' | 'file';
export function viewOf(artifact: Artifact): View {
  switch (artifact.type) {
    case 'system.Metrics':
      return 'metrics';
    case 'system.ClassificationMetrics':
      return 'classification';
    case 'system.HTML':
      return 'html';
    case 'system.Markdown':
      return 'markdown';
    default:
      return 'file';
  }
}

/** Metadata that is worth a row: upstream keeps the artifact's own name and display_name among it. */
export function scalars(metadata: JsonMap | undefined): [string, Json][] {
  return Object.entries(metadata ?? {}).filter(
    ([key, value]) => key !== 'display_name' && value !== null && typeof value !== 'object',
  );
}

export interface Matrix {
  labels: string[];
  rows: number[][];
}

const object = (json: Json | undefined): JsonMap | undefined =>
  json !== undefined && json !== null && typeof json === 'object' && !Array.isArray(json) ? json : undefined;
const list = (json: Json | undefined): Json[] | undefined => (Array.isArray(json) ? json : undefined);

/** The confusion matrix in any wrapping the SDK has used; undefined when it is not square or not numeric. */
export function confusionMatrix(metadata: JsonMap | undefined): Matrix | undefined {
  const outer = object(metadata?.confusionMatrix);
  const matrix = object(outer?.struct) ?? outer;
  const specs = list(matrix?.annotationSpecs);
  const raw = list(matrix?.rows);
  if (specs === undefined || raw === undefined) return undefined;
  const labels = specs.map((spec) => String(object(spec)?.displayName ?? ''));
  const rows = raw.map((row) => (list(object(row)?.row ?? row) ?? []).map(Number));
  const square = rows.length === labels.length && rows.every((row) => row.length === labels.length && row.every(Number.isFinite));
  return square && labels.length > 0 ? { labels, rows } : undefined;
}

export interface RocPoint {
  fpr: number;
  tpr: number;
  threshold: number;
}

export function rocCurve(metadata: JsonMap | undefined): RocPoint[] | undefined {
  const outer = metadata?.confidenceMetrics;
  const raw = list(outer) ?? list(object(outer)?.list);
  if (raw === undefined) return undefined;
  const points = raw.flatMap((entry): RocPoint[] => {
    const point = object(entry);
    const fpr = Number(point?.falsePositiveRate ?? 0);
    const tpr = Number(point?.recall ?? 0);
    const threshold = Number(point?.confidenceThreshold ?? 0);
    return Number.isFinite(fpr) && Number.isFinite(tpr) ? [{ fpr, tpr, threshold }] : [];
  });
  points.sort((a, b) => a.fpr - b.fpr || a.tpr - b.tpr);
  return points.length > 1 ? points : undefined;
}

/** Area under the curve by trapezoids. */
export function areaUnder(points: readonly RocPoint[]): number {
  let area = 0;
  for (let i = 1; i < points.length; i += 1) {
    const a = points[i - 1];
    const b = points[i];
    if (a === undefined || b === undefined) continue;
    area += ((b.fpr - a.fpr) * (a.tpr + b.tpr)) / 2;
  }
  return area;
}
