// A confusion matrix as a real table whose cells carry heat, and a ROC curve as a small drawing with its area in words.
import { Stack, Text } from '@mantine/core';
import { areaUnder, type Matrix as MatrixData, type RocPoint } from '../lib/artifacts';
import { number } from '../lib/format';
import classes from './ArtifactView.module.css';

export function Matrix({ matrix, caption }: { matrix: MatrixData; caption: string }) {
  const max = Math.max(1, ...matrix.rows.flat());
  const total = matrix.rows.flat().reduce((sum, cell) => sum + cell, 0);
  const right = matrix.rows.reduce((sum, row, i) => sum + (row[i] ?? 0), 0);
  return (
    <Stack gap={4}>
      <Text size="xs" c="dimmed">Rows: true class. Columns: predicted class.</Text>
      <div style={{ overflowX: 'auto' }} tabIndex={0} role="region" aria-label={caption}>
        <table className={classes.matrix} aria-label={caption}>
          <thead>
            <tr>
              <td className={classes.corner}>true \ predicted</td>
              {matrix.labels.map((label, i) => <th scope="col" key={i}>{label}</th>)}
            </tr>
          </thead>
          <tbody>
            {matrix.rows.map((row, i) => (
              <tr key={i}>
                <th scope="row">{matrix.labels[i]}</th>
                {row.map((cell, j) => (
                  <td
                    key={j}
                    title={`true ${matrix.labels[i]}, predicted ${matrix.labels[j]}: ${cell}`}
                    style={heat(cell / max, i === j)}
                  >
                    {number(cell)}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {total > 0 && (
        <Text size="xs" c="dimmed">
          {right} of {total} right ({number(Math.round((right / total) * 10_000) / 100)} %).
        </Text>
      )}
    </Stack>
  );
}

/** Right answers in green, wrong ones in red; the text keeps its contrast because the fill stops before it gets in the way. */
function heat(share: number, hit: boolean): React.CSSProperties {
  const percent = Math.round(share * (hit ? 42 : 60));
  const tone = hit ? 'var(--kf-ok)' : 'var(--kf-bad)';
  return { background: share === 0 ? 'var(--kf-canvas)' : `color-mix(in srgb, ${tone} ${Math.max(6, percent)}%, var(--kf-surface))` };
}

export function Roc({ points }: { points: RocPoint[] }) {
  const size = 180;
  const x = (fpr: number) => 24 + fpr * size;
  const y = (tpr: number) => 8 + (1 - tpr) * size;
  const path = points.map((point, i) => `${i === 0 ? 'M' : 'L'}${x(point.fpr).toFixed(1)} ${y(point.tpr).toFixed(1)}`).join('');
  const area = number(Math.round(areaUnder(points) * 1e4) / 1e4);
  return (
    <Stack gap={2}>
      <svg width={size + 34} height={size + 34} role="img" aria-label={`ROC curve, area under the curve ${area}`} style={{ fontSize: 10, fill: 'var(--mantine-color-dimmed)' }}>
        <rect x={24} y={8} width={size} height={size} fill="none" stroke="var(--kf-line)" />
        <line x1={24} y1={8 + size} x2={24 + size} y2={8} stroke="var(--kf-line)" strokeDasharray="3 3" />
        <path d={path} fill="none" stroke="var(--kf-run)" strokeWidth={1.8} />
        <text x={24 + size / 2} y={size + 24} textAnchor="middle">False positive rate</text>
        <text transform={`translate(14 ${8 + size / 2}) rotate(-90)`} textAnchor="middle">True positive rate</text>
      </svg>
      <Text size="xs" c="dimmed">Area under the curve: {area}, {points.length} points.</Text>
    </Stack>
  );
}
