// Reading the pipeline specification: unwrapping it, walking its DAGs, naming what a task is. Pure.
import type {
  ComponentSpec,
  ExecutorSpec,
  ParameterSpec,
  PipelineSpec,
  PipelineSpecDoc,
  TaskSpec,
} from '../api/types';

export function unwrap(doc: PipelineSpecDoc | undefined): PipelineSpec | undefined {
  if (doc === undefined) return undefined;
  return 'pipeline_spec' in doc ? doc.pipeline_spec : doc;
}

export type TaskKind = 'step' | 'condition' | 'exit' | 'loop' | 'dag';

export interface IrTask {
  /** "root/exit-handler-1/train": the same path the engine's Task objects carry. */
  path: string;
  name: string;
  label: string;
  kind: TaskKind;
  /** The task's own condition, as the author wrote it. */
  condition?: string;
  component?: ComponentSpec;
  componentName?: string;
  executor?: ExecutorSpec;
  /** Sibling tasks it waits for; `data` when a value flows, else order only. */
  needs: { name: string; data: boolean }[];
  /** True when it runs even after its predecessors failed. */
  always: boolean;
  children: IrTask[];
}

/** CEL as compiled, with the compiler's plumbing taken out: `flip-coin-Output == 'heads'`. */
export function readableCondition(cel: string): string {
  return cel
    .replace(/inputs\.parameter_values\[(['"])(.*?)\1\]/g, (_, __, key: string) => key.replace(/^pipelinechannel--/, ''))
    .replace(/\s+/g, ' ')
    .trim();
}

function needsOf(task: TaskSpec): IrTask['needs'] {
  const needs = new Map<string, boolean>();
  for (const name of task.dependentTasks ?? []) needs.set(name, false);
  for (const input of Object.values(task.inputs?.parameters ?? {})) {
    const from = input.taskOutputParameter?.producerTask ?? input.taskFinalStatus?.producerTask;
    if (from !== undefined) needs.set(from, true);
  }
  for (const input of Object.values(task.inputs?.artifacts ?? {})) {
    const from = input.taskOutputArtifact?.producerTask;
    if (from !== undefined) needs.set(from, true);
  }
  return [...needs].map(([name, data]) => ({ name, data }));
}

function kindOf(name: string, task: TaskSpec, component: ComponentSpec | undefined): TaskKind {
  if (task.parameterIterator !== undefined || task.artifactIterator !== undefined) return 'loop';
  if (component?.dag === undefined) return 'step';
  if (task.triggerPolicy?.condition !== undefined || name.startsWith('condition-')) return 'condition';
  if (name.startsWith('exit-handler-')) return 'exit';
  return 'dag';
}

/** The tree of tasks under the root. A component that contains itself is cut, not followed. */
export function tree(spec: PipelineSpec): IrTask[] {
  const walk = (dag: ComponentSpec | undefined, prefix: string, seen: readonly string[]): IrTask[] =>
    Object.entries(dag?.dag?.tasks ?? {}).map(([name, task]) => {
      const componentName = task.componentRef?.name;
      const component = componentName === undefined ? undefined : spec.components?.[componentName];
      const path = `${prefix}/${name}`;
      const recursive = componentName !== undefined && seen.includes(componentName);
      return {
        path,
        name,
        label: task.taskInfo?.name ?? name,
        kind: kindOf(name, task, component),
        condition:
          task.triggerPolicy?.condition === undefined ? undefined : readableCondition(task.triggerPolicy.condition),
        component,
        componentName,
        executor:
          component?.executorLabel === undefined
            ? undefined
            : spec.deploymentSpec?.executors?.[component.executorLabel],
        needs: needsOf(task),
        always: task.triggerPolicy?.strategy === 'ALL_UPSTREAM_TASKS_COMPLETED',
        children: recursive || component?.dag === undefined ? [] : walk(component, path, [...seen, componentName ?? '']),
      };
    });
  return walk(spec.root, 'root', []);
}

export function flatten(tasks: readonly IrTask[]): IrTask[] {
  return tasks.flatMap((task) => [task, ...flatten(task.children)]);
}

export const stepCount = (tasks: readonly IrTask[]): number => flatten(tasks).filter((t) => t.children.length === 0).length;

export const rootParameters = (spec: PipelineSpec | undefined): [string, ParameterSpec][] =>
  Object.entries(spec?.root?.inputDefinitions?.parameters ?? {});

export const pipelineTitle = (spec: PipelineSpec | undefined): string | undefined =>
  spec?.pipelineInfo?.displayName ?? spec?.pipelineInfo?.name;
