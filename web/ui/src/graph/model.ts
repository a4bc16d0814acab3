// From the specification and the engine's Task objects to what is drawn: nodes in nodes, and edges between siblings. Pure.
import type { TaskObject } from '../api/types';
import { flatten, type IrTask } from '../lib/ir';
import { taskState, type AnyState } from '../lib/state';

export interface GraphNode {
  id: string;
  parent?: string;
  task: IrTask;
  /** A DAG whose inside is drawn. */
  open: boolean;
}

export interface GraphEdge {
  id: string;
  source: string;
  target: string;
  /** A value flows; otherwise it is order only. */
  data: boolean;
}

export interface Graph {
  nodes: GraphNode[];
  edges: GraphEdge[];
  /** Signature of the shape: equal shapes need no new layout. */
  shape: string;
  direction: 'DOWN' | 'RIGHT';
}

/** Up to this many tasks all DAGs start open; beyond it a person opens what they want to see. */
export const OPEN_LIMIT = 60;

export function initiallyOpen(tasks: readonly IrTask[]): Set<string> {
  const all = flatten(tasks);
  return new Set(all.length > OPEN_LIMIT ? [] : all.filter((t) => t.children.length > 0).map((t) => t.path));
}

export function buildGraph(tasks: readonly IrTask[], open: ReadonlySet<string>): Graph {
  const nodes: GraphNode[] = [];
  const edges: GraphEdge[] = [];
  const visit = (siblings: readonly IrTask[], parent: string | undefined) => {
    const byName = new Map(siblings.map((task) => [task.name, task.path]));
    for (const task of siblings) {
      const isOpen = task.children.length > 0 && open.has(task.path);
      nodes.push({ id: task.path, parent, task, open: isOpen });
      for (const need of task.needs) {
        const source = byName.get(need.name);
        if (source !== undefined) edges.push({ id: `${source}>${task.path}`, source, target: task.path, data: need.data });
      }
      if (isOpen) visit(task.children, task.path);
    }
  };
  visit(tasks, undefined);
  return {
    nodes,
    edges,
    shape: nodes.map((n) => `${n.id}:${n.open ? 1 : 0}`).join('|'),
    direction: direction(tasks),
  };
}

/** Pipelines read top-down, but a wide fan-out would be a line miles long: that one goes left to right. */
function direction(tasks: readonly IrTask[]): Graph['direction'] {
  const byName = new Map(tasks.map((task) => [task.name, task]));
  const rank = new Map<string, number>();
  const rankOf = (task: IrTask, trail: readonly string[]): number => {
    const known = rank.get(task.name);
    if (known !== undefined) return known;
    if (trail.includes(task.name)) return 0;
    let value = 0;
    for (const need of task.needs) {
      const source = byName.get(need.name);
      if (source !== undefined) value = Math.max(value, rankOf(source, [...trail, task.name]) + 1);
    }
    rank.set(task.name, value);
    return value;
  };
  const perRank = new Map<number, number>();
  for (const task of tasks) {
    const value = rankOf(task, []);
    perRank.set(value, (perRank.get(value) ?? 0) + 1);
  }
  const widest = Math.max(0, ...perRank.values());
  return widest > 8 && widest > perRank.size * 3 ? 'RIGHT' : 'DOWN';
}

export type StateByPath = ReadonlyMap<string, TaskObject>;
export const byPath = (tasks: readonly TaskObject[]): StateByPath => new Map(tasks.map((task) => [task.spec.path, task]));

/** A task of the spec with no object has not been reached. */
export function nodeState(path: string, states: StateByPath | undefined): AnyState | undefined {
  if (states === undefined) return undefined;
  const task = states.get(path);
  return task === undefined ? 'NOT_REACHED' : taskState(task);
}

/** Steps done inside a DAG, for its header: "2 / 5". */
export function progress(task: IrTask, states: StateByPath): { done: number; total: number } {
  const leaves = flatten(task.children).filter((child) => child.children.length === 0);
  const done = leaves.filter((leaf) => {
    const state = nodeState(leaf.path, states);
    return state === 'SUCCEEDED' || state === 'CACHED' || state === 'SKIPPED';
  }).length;
  return { done, total: leaves.length };
}
