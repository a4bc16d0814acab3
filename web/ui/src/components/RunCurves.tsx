// All curves of one or more tracked runs, a chart for each metric, with the choices that hold for all of them.
import { Group, NativeSelect, SegmentedControl, Switch, Text, TextInput } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useCallback, useMemo, useState } from 'react';
import { mlflow } from '../api/mlflow';
import { curvesOf, type Axis, type TrackedRun } from '../lib/tracking';
import { Curves } from './Curves';
import classes from './Curves.module.css';
import { ErrorNote } from './ErrorNote';

interface Props {
  ns: string;
  runs: TrackedRun[];
  /** How often to look for new points, in milliseconds; none: never. */
  every: number | false;
}

const SMOOTHING = ['0', '0.6', '0.9', '0.97'];

export function RunCurves({ ns, runs, every }: Props) {
  const [axis, setAxis] = useState<Axis>('step');
  const [log, setLog] = useState(false);
  const [smoothing, setSmoothing] = useState('0');
  const [asked, setAsked] = useState('');
  const keys = useMemo(() => [...new Set(runs.flatMap((run) => run.data.metrics.map((metric) => metric.key)))].sort(), [runs]);
  const ids = runs.map((run) => run.info.run_id).join(',');
  const names = useMemo(() => new Map(runs.map((run) => [run.info.run_id, run.info.run_name || run.info.run_id])), [runs]);
  const order = useMemo(() => new Map(ids.split(',').map((id, i) => [id, i])), [ids]);
  const colour = useCallback((id: string) => order.get(id) ?? 0, [order]);
  if (keys.length === 0) return <Text size="sm" c="dimmed" p="md">No metric has been logged yet.</Text>;
  const wanted = keys.filter((key) => key.toLowerCase().includes(asked.toLowerCase()));
  return (
    <>
      <Group gap="sm" mb="sm" align="flex-end">
        <TextInput label="Metrics" placeholder="Filter by name" value={asked} onChange={(event) => setAsked(event.currentTarget.value)} w={180} />
        <SegmentedControl aria-label="Over steps or time" value={axis} onChange={(next) => setAxis(next as Axis)} data={[{ value: 'step', label: 'Steps' }, { value: 'time', label: 'Time' }]} />
        <NativeSelect label="Smoothing" value={smoothing} data={SMOOTHING} onChange={(event) => setSmoothing(event.currentTarget.value)} w={90} />
        <Switch label="Logarithmic" checked={log} onChange={(event) => setLog(event.currentTarget.checked)} mb={8} />
      </Group>
      <div className={classes.grid}>
        {wanted.map((key) => (
          <OneMetric key={key} ns={ns} ids={ids} metric={key} every={every} names={names} axis={axis} log={log} smoothing={Number(smoothing)} colour={colour} />
        ))}
      </div>
      {wanted.length === 0 && <Text size="sm" c="dimmed">No metric has “{asked}” in its name.</Text>}
    </>
  );
}

interface OneProps {
  ns: string;
  ids: string;
  metric: string;
  every: number | false;
  names: Map<string, string>;
  axis: Axis;
  log: boolean;
  smoothing: number;
  colour: (id: string) => number;
}

function OneMetric({ ns, ids, metric, every, names, axis, log, smoothing, colour }: OneProps) {
  const { data, error } = useQuery({
    queryKey: ['points', ns, ids, metric],
    queryFn: ({ signal }) => mlflow.points(ns, ids.split(','), metric, signal),
    refetchInterval: every,
  });
  const curves = useMemo(() => curvesOf(data ?? [], (id) => names.get(id) ?? id, axis), [data, names, axis]);
  if (error !== null) return <ErrorNote title={metric}>{error.message}</ErrorNote>;
  return <Curves label={metric} curves={curves} axis={axis} log={log} smoothing={smoothing} colour={colour} />;
}
