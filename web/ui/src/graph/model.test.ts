// From a pipeline spec and its tasks to the nodes and edges of the graph.
import { describe, expect, it } from 'vitest';
import type { PipelineSpec, TaskObject, TaskState } from '../api/types';
import { flatten, readableCondition, stepCount, tree, unwrap } from '../lib/ir';
import { buildGraph, byPath, initiallyOpen, nodeState, progress } from './model';

const spec: PipelineSpec = {
  pipelineInfo: { name: 'p' },
  components: {
    'comp-a': { executorLabel: 'exec-a', inputDefinitions: {} },
    'comp-cond': {
      dag: {
        tasks: {
          inner: { componentRef: { name: 'comp-a' }, taskInfo: { name: 'inner' } },
          after: { componentRef: { name: 'comp-a' }, dependentTasks: ['inner'] },
        },
      },
    },
    'comp-self': { dag: { tasks: { again: { componentRef: { name: 'comp-self' } } } } },
  },
  deploymentSpec: { executors: { 'exec-a': { container: { image: 'alpine' } } } },
  root: {
    dag: {
      tasks: {
        flip: { componentRef: { name: 'comp-a' }, taskInfo: { name: 'flip' } },
        'condition-1': {
          componentRef: { name: 'comp-cond' },
          inputs: { parameters: { 'pipelinechannel--flip-Output': { taskOutputParameter: { producerTask: 'flip', outputParameterKey: 'Output' } } } },
          triggerPolicy: { condition: "inputs.parameter_values['pipelinechannel--flip-Output'] == 'heads'" },
        },
        clean: {
          componentRef: { name: 'comp-a' },
          dependentTasks: ['condition-1'],
          triggerPolicy: { strategy: 'ALL_UPSTREAM_TASKS_COMPLETED' },
        },
      },
    },
  },
};

const task = (path: string, state: TaskState): TaskObject => ({
  apiVersion: 'pipelines.kubeflow.org/v2beta1',
  kind: 'Task',
  metadata: { name: path, uid: path, resourceVersion: '1', creationTimestamp: '' },
  spec: { runId: 'r', path, name: path },
  status: { state },
});

describe('tree', () => {
  const tasks = tree(spec);
  const at = (path: string) => flatten(tasks).find((each) => each.path === path);

  it('uses the engine\'s paths', () => {
    expect(flatten(tasks).map((each) => each.path)).toEqual([
      'root/flip',
      'root/condition-1',
      'root/condition-1/inner',
      'root/condition-1/after',
      'root/clean',
    ]);
    expect(stepCount(tasks)).toBe(4);
  });

  it('reads what a task is and waits for', () => {
    expect(at('root/condition-1')).toMatchObject({ kind: 'condition', condition: "flip-Output == 'heads'", needs: [{ name: 'flip', data: true }] });
    expect(at('root/clean')).toMatchObject({ kind: 'step', always: true, needs: [{ name: 'condition-1', data: false }] });
    expect(at('root/flip')?.executor?.container?.image).toBe('alpine');
  });

  it('cuts a component that contains itself', () => {
    expect(flatten(tree({ components: spec.components, root: { dag: { tasks: { x: { componentRef: { name: 'comp-self' } } } } } })).length).toBe(2);
  });

  it('unwraps a spec that came with its platform document', () => {
    expect(unwrap({ pipeline_spec: spec, platform_spec: {} })).toBe(spec);
    expect(unwrap(spec)).toBe(spec);
  });

  it('keeps conditions readable', () => {
    expect(readableCondition("!(inputs.parameter_values['pipelinechannel--n'] >\n 5)")).toBe('!(n > 5)');
  });
});

describe('graph', () => {
  const tasks = tree(spec);

  it('draws the inside of open groups, with edges between siblings only', () => {
    const open = buildGraph(tasks, initiallyOpen(tasks));
    expect(open.nodes.find((node) => node.id === 'root/condition-1/inner')?.parent).toBe('root/condition-1');
    expect(open.edges.map((edge) => edge.id)).toEqual([
      'root/flip>root/condition-1',
      'root/condition-1/inner>root/condition-1/after',
      'root/condition-1>root/clean',
    ]);
    const closed = buildGraph(tasks, new Set());
    expect(closed.nodes.map((node) => node.id)).toEqual(['root/flip', 'root/condition-1', 'root/clean']);
    expect(closed.shape).not.toBe(open.shape);
  });

  it('turns a wide fan-out on its side', () => {
    const wide = tree({
      components: spec.components,
      root: { dag: { tasks: Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`n${i}`, { componentRef: { name: 'comp-a' } }])) } },
    });
    expect(buildGraph(wide, new Set()).direction).toBe('RIGHT');
    expect(buildGraph(tasks, new Set()).direction).toBe('DOWN');
  });

  it('colours by the engine\'s tasks; one without an object was not reached', () => {
    const states = byPath([task('root/flip', 'SUCCEEDED'), task('root/condition-1/inner', 'CACHED')]);
    expect(nodeState('root/flip', states)).toBe('SUCCEEDED');
    expect(nodeState('root/clean', states)).toBe('NOT_REACHED');
    expect(nodeState('root/clean', undefined)).toBeUndefined();
    const condition = tasks[1];
    expect(condition && progress(condition, states)).toEqual({ done: 1, total: 2 });
  });
});
