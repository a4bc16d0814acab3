// One metric of one or more runs over steps or time: a drawing, and under it the same in words for each run.
import 'uplot/dist/uPlot.min.css';
import { Text } from '@mantine/core';
import { useElementSize } from '@mantine/hooks';
import { useEffect, useRef } from 'react';
import uPlot from 'uplot';
import { duration, number } from '../lib/format';
import { aligned, smooth, type Axis, type Curve } from '../lib/tracking';
import classes from './Curves.module.css';

interface Props {
  label: string;
  curves: Curve[];
  axis: Axis;
  log: boolean;
  smoothing: number;
  /** The colour of a curve, the same on every chart of a page. */
  colour: (id: string) => number;
}

/** How many colours there are; beyond it they come again, dashed. */
export const COLOURS = 8;

export function Curves({ label, curves, axis, log, smoothing, colour }: Props) {
  const { ref, width } = useElementSize<HTMLDivElement>();
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const box = place.current;
    if (box === null || width === 0) return;
    const style = getComputedStyle(box);
    const tone = (name: string) => style.getPropertyValue(name).trim();
    const line = tone('--kf-line');
    const seconds = (x: number) => (axis === 'time' ? duration(x * 1000) : number(x));
    const sides = { stroke: tone('--mantine-color-dimmed'), grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: '11px system-ui' };
    const drawn = curves.map((curve) => smooth(curve, smoothing));
    const chart = new uPlot(
      {
        width,
        height: 200,
        legend: { show: false },
        cursor: { y: false, drag: { x: true, y: false } },
        scales: { x: { time: false }, y: { distr: log ? 3 : 1 } },
        axes: [
          { ...sides, values: (_, ticks) => ticks.map(seconds) },
          { ...sides, size: 64, values: (_, ticks) => ticks.map((tick: number | null) => (tick === null ? '' : number(tick))) },
        ],
        series: [
          {},
          ...curves.map((curve) => {
            const at = colour(curve.id);
            return { label: curve.label, stroke: tone(`--kf-curve-${at % COLOURS}`), width: 1.6, dash: at >= COLOURS ? [6, 4] : undefined, spanGaps: true, points: { show: curve.points.length < 2 } };
          }),
        ],
      },
      log ? positive(aligned(drawn)) : aligned(drawn),
      box,
    );
    return () => chart.destroy();
  }, [curves, axis, log, smoothing, colour, width]);

  return (
    <figure className={`kf-card ${classes.chart}`} aria-label={`Curves of ${label}`}>
      <figcaption><Text size="sm" fw={600}>{label}</Text></figcaption>
      <div ref={ref}><div ref={place} aria-hidden /></div>
      <table className={classes.legend} aria-label={`Values of ${label}`}>
        <thead>
          <tr><th scope="col">Run</th><th scope="col">Last</th><th scope="col">Least</th><th scope="col">Most</th></tr>
        </thead>
        <tbody>
          {curves.map((curve) => {
            const ys = curve.points.flatMap((point) => point.y ?? []);
            const at = colour(curve.id);
            return (
              <tr key={curve.id}>
                <th scope="row">
                  <span className={classes.swatch} style={{ borderTopColor: `var(--kf-curve-${at % COLOURS})`, borderTopStyle: at >= COLOURS ? 'dashed' : 'solid' }} aria-hidden />
                  {curve.label}
                </th>
                {ys.length === 0 ? <td colSpan={3}>No numbers</td> : [ys[ys.length - 1] ?? 0, least(ys), most(ys)].map((y, i) => <td key={i}>{number(y)}</td>)}
              </tr>
            );
          })}
        </tbody>
      </table>
    </figure>
  );
}

const least = (ys: number[]) => ys.reduce((a, b) => Math.min(a, b));
const most = (ys: number[]) => ys.reduce((a, b) => Math.max(a, b));

/** A logarithmic axis has no room for 0 and below. */
const positive = ([xs, ...ys]: [number[], ...(number | null)[][]]): [number[], ...(number | null)[][]] => [xs, ...ys.map((column) => column.map((y) => (y !== null && y > 0 ? y : null)))];
