// The steps of a run as a table: what the graph shows, for reading in order, by screen reader and on a phone.
import { Table, Text } from '@mantine/core';
import { kindWords } from '../graph/kinds';
import { nodeState, type StateByPath } from '../graph/model';
import type { TaskObject } from '../api/types';
import { flatten, type IrTask } from '../lib/ir';
import { StateBadge } from './State';
import { Age, Duration } from './Time';
import classes from './StepTable.module.css';

interface Props {
  ir: IrTask[];
  states: StateByPath;
  selected?: string;
  onSelect: (path: string) => void;
}

interface Row {
  path: string;
  label: string;
  note: string;
  depth: number;
  task?: TaskObject;
}

export function StepTable({ ir, states, selected, onSelect }: Props) {
  return (
    <Table className={classes.table} verticalSpacing={5} aria-label="Steps" stickyHeader>
      <Table.Thead>
        <Table.Tr>
          <Table.Th>Step</Table.Th>
          <Table.Th w={130}>State</Table.Th>
          <Table.Th w={100}>Duration</Table.Th>
          <Table.Th w={110} className={classes.minor}>Started</Table.Th>
          <Table.Th className={classes.minor}>Message</Table.Th>
        </Table.Tr>
      </Table.Thead>
      <Table.Tbody>
        {rowsOf(ir, states).map((row) => (
          <Table.Tr key={row.path} data-selected={row.path === selected || undefined}>
            <Table.Td style={{ paddingLeft: 12 + row.depth * 18 }}>
              <button type="button" className={classes.step} aria-pressed={row.path === selected} onClick={() => onSelect(row.path)}>{row.label}</button>
              {row.note !== '' && <Text size="xs" c="dimmed">{row.note}</Text>}
            </Table.Td>
            <Table.Td><StateBadge state={nodeState(row.path, states)} /></Table.Td>
            <Table.Td><Duration from={row.task?.status?.startTime} to={row.task?.status?.finishTime} /></Table.Td>
            <Table.Td className={classes.minor}><Age at={row.task?.status?.startTime} /></Table.Td>
            <Table.Td className={classes.minor}><Text size="sm" lineClamp={2}>{row.task?.status?.message}</Text></Table.Td>
          </Table.Tr>
        ))}
      </Table.Tbody>
    </Table>
  );
}

/** In the order of the specification; then tasks the specification does not name (loop iterations). */
function rowsOf(ir: IrTask[], states: StateByPath): Row[] {
  const known = flatten(ir);
  const paths = new Set(known.map((task) => task.path));
  const depth = (path: string) => path.split('/').length - 2;
  return [
    ...known.map((task) => ({
      path: task.path,
      label: task.label,
      depth: depth(task.path),
      note: task.condition !== undefined ? `if ${task.condition}` : task.kind === 'step' ? '' : kindWords[task.kind],
      task: states.get(task.path),
    })),
    ...[...states.values()]
      .filter((task) => !paths.has(task.spec.path))
      .map((task) => ({ path: task.spec.path, label: task.spec.displayName ?? task.spec.name, depth: depth(task.spec.path), note: '', task })),
  ];
}
