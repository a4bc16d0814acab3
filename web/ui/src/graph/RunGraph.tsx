// The graph of a pipeline, or of a run when states are given. Every node is a button; sub-DAGs open in place.
import '@xyflow/react/dist/base.css';
import { ActionIcon, Group, Paper, Tooltip, useComputedColorScheme } from '@mantine/core';
import {
  BaseEdge,
  Handle,
  MiniMap,
  Panel,
  Position,
  ReactFlow,
  ReactFlowProvider,
  useReactFlow,
  type Edge,
  type EdgeProps,
  type Node,
  type NodeProps,
} from '@xyflow/react';
import { IconArrowsMaximize, IconArrowsMinimize, IconFocusCentered, IconMinus, IconPlus } from '@tabler/icons-react';
import { createContext, memo, useContext, useEffect, useMemo, useRef, useState } from 'react';
import { Duration } from '../components/Time';
import { StateIcon } from '../components/State';
import { flatten, type IrTask } from '../lib/ir';
import { look } from '../lib/state';
import { kindIcons, kindWords } from './kinds';
import { layout, roundedPath, type Placed } from './layout';
import { buildGraph, initiallyOpen, nodeState, progress, type StateByPath } from './model';
import classes from './RunGraph.module.css';
import { Loading } from '../components/Page';

interface Props {
  tasks: IrTask[];
  /** Absent for a pipeline that is not running: no colours then. */
  states?: StateByPath;
  selected?: string;
  onSelect: (path: string | undefined) => void;
}

interface Live {
  states?: StateByPath;
  selected?: string;
  onSelect: (path: string) => void;
  onToggle: (path: string) => void;
}
/** What changes often goes round the node list, so that a changed state redraws one node and not the graph. */
const LiveContext = createContext<Live>({ onSelect: () => undefined, onToggle: () => undefined });

type TaskNode = Node<{ task: IrTask; open: boolean; down: boolean }, 'task'>;
type RoutedEdge = Edge<{ points: { x: number; y: number }[]; order: boolean; active: boolean }, 'routed'>;

const TaskCard = memo(function TaskCard({ data: { task, open, down } }: NodeProps<TaskNode>) {
  const { states, selected, onSelect, onToggle } = useContext(LiveContext);
  const state = nodeState(task.path, states);
  const tone = state === undefined ? 'off' : look(state).tone;
  const object = states?.get(task.path);
  const Kind = kindIcons[task.kind];
  const isDag = task.children.length > 0;
  const done = isDag && states !== undefined ? progress(task, states) : undefined;
  const kindWord = task.kind === 'step' ? '' : kindWords[task.kind];
  const second =
    state === undefined
      ? (task.condition ?? (isDag ? `${flatten(task.children).length} tasks` : (task.executor?.container?.image ?? kindWord)))
      : (task.condition !== undefined && isDag ? `if ${task.condition}` : undefined);
  return (
    <div className={open ? classes.group : classes.node} data-tone={tone} data-state={state} data-selected={selected === task.path || undefined} data-unreached={state === 'NOT_REACHED' || undefined} data-path={task.path}>
      <Handle type="target" position={down ? Position.Top : Position.Left} className={classes.handle} isConnectable={false} />
      <div className={classes.head}>
        <button
          type="button"
          className={classes.main}
          aria-pressed={selected === task.path}
          aria-label={`${task.label}${kindWord === '' ? '' : `, ${kindWord}`}${state === undefined ? '' : `, ${look(state).word}`}`}
          title={task.condition === undefined ? task.label : `${task.label}: if ${task.condition}`}
          onClick={() => onSelect(task.path)}
        >
          {state === undefined ? <Kind size={16} stroke={1.7} aria-hidden className={classes.kind} /> : <StateIcon state={state} size={18} />}
          <span className={classes.words}>
            <span className={classes.label}>{task.label}</span>
            <span className={classes.second}>
              {second ?? (
                <>
                  {look(state).word}
                  {object?.status?.startTime !== undefined && (state === 'RUNNING' || object.status.finishTime !== undefined) && state !== 'SKIPPED' && (
                    <> · <Duration from={object.status.startTime} to={object.status.finishTime} /></>
                  )}
                  {done !== undefined && <> · {done.done}/{done.total}</>}
                </>
              )}
            </span>
          </span>
        </button>
        {isDag && (
          <button type="button" className={classes.toggle} onClick={() => onToggle(task.path)} aria-expanded={open} aria-label={`${open ? 'Close' : 'Open'} ${task.label}`}>
            {open ? <IconArrowsMinimize size={14} aria-hidden /> : <IconArrowsMaximize size={14} aria-hidden />}
          </button>
        )}
      </div>
      <Handle type="source" position={down ? Position.Bottom : Position.Right} className={classes.handle} isConnectable={false} />
    </div>
  );
});

function Routed({ data, markerEnd }: EdgeProps<RoutedEdge>) {
  if (data === undefined) return null;
  return (
    <BaseEdge
      path={roundedPath(data.points)}
      markerEnd={markerEnd}
      style={{ stroke: data.active ? 'var(--kf-edge-active)' : 'var(--kf-edge)', strokeWidth: 1.4, strokeDasharray: data.order ? '5 4' : undefined }}
    />
  );
}

const nodeTypes = { task: TaskCard };
const edgeTypes = { routed: Routed };

export default function RunGraph(props: Props) {
  return (
    <ReactFlowProvider>
      <Flow {...props} />
    </ReactFlowProvider>
  );
}

function Flow({ tasks, states, selected, onSelect }: Props) {
  const [open, setOpen] = useState(() => initiallyOpen(tasks));
  const [placed, setPlaced] = useState<{ shape: string; at: Placed }>();
  const frame = useRef<HTMLDivElement>(null);
  const moved = useRef(false);
  const flow = useReactFlow();
  const scheme = useComputedColorScheme('light', { getInitialValueInEffect: false });

  const graph = useMemo(() => buildGraph(tasks, open), [tasks, open]);
  useEffect(() => {
    let current = true;
    void layout(graph).then((at) => {
      if (current) setPlaced({ shape: graph.shape, at });
    });
    return () => {
      current = false;
    };
  }, [graph]);

  const down = graph.direction === 'DOWN';
  const ready = placed?.shape === graph.shape ? placed.at : undefined;
  const nodes = useMemo<TaskNode[]>(
    () =>
      ready === undefined
        ? []
        : graph.nodes.map((node) => {
            const box = ready.nodes.get(node.id);
            return {
              id: node.id,
              type: 'task',
              parentId: node.parent,
              position: { x: box?.x ?? 0, y: box?.y ?? 0 },
              width: box?.width,
              height: box?.height,
              data: { task: node.task, open: node.open, down: node.parent !== undefined || down },
            };
          }),
    [graph, ready, down],
  );
  const edges = useMemo<RoutedEdge[]>(
    () =>
      ready === undefined
        ? []
        : graph.edges.map((edge) => ({
            id: edge.id,
            source: edge.source,
            target: edge.target,
            type: 'routed',
            markerEnd: 'kf-arrow',
            data: { points: ready.edges.get(edge.id) ?? [], order: !edge.data, active: selected === edge.source || selected === edge.target },
          })),
    [graph, ready, selected],
  );

  // The first view shows the whole graph where that stays readable; the frame's size changes when the side panel opens.
  useEffect(() => {
    if (ready === undefined || frame.current === null) return;
    const fit = () => {
      if (!moved.current) void flow.fitView({ padding: 0.06, maxZoom: 1, minZoom: 0.5 });
    };
    requestAnimationFrame(fit);
    const observer = new ResizeObserver(() => requestAnimationFrame(fit));
    observer.observe(frame.current);
    return () => observer.disconnect();
  }, [ready, flow]);

  const live = useMemo<Live>(
    () => ({
      states,
      selected,
      onSelect,
      onToggle: (path) => {
        moved.current = false;
        setOpen((before) => {
          const after = new Set(before);
          if (!after.delete(path)) after.add(path);
          return after;
        });
      },
    }),
    [states, selected, onSelect],
  );
  const dags = useMemo(() => flatten(tasks).filter((task) => task.children.length > 0).map((task) => task.path), [tasks]);
  const setAll = (all: boolean) => {
    moved.current = false;
    setOpen(new Set(all ? dags : []));
  };

  return (
    <div ref={frame} className={classes.frame}>
      {placed === undefined && <Loading what="the graph" />}
      <svg width={0} height={0} style={{ position: 'absolute' }} aria-hidden>
        <defs>
          <marker id="kf-arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse">
            <path d="M0,0.5L7.5,4L0,7.500z" fill="var(--kf-edge)" />
          </marker>
        </defs>
      </svg>
      <LiveContext.Provider value={live}>
        <ReactFlow
          nodes={nodes}
          edges={edges}
          nodeTypes={nodeTypes}
          edgeTypes={edgeTypes}
          colorMode={scheme}
          nodesDraggable={false}
          nodesConnectable={false}
          nodesFocusable={false}
          edgesFocusable={false}
          elementsSelectable={false}
          disableKeyboardA11y
          minZoom={0.1}
          maxZoom={1.6}
          zoomOnDoubleClick={false}
          proOptions={{ hideAttribution: true }}
          onMove={(event) => {
            if (event !== null) moved.current = true;
          }}
          onPaneClick={() => onSelect(undefined)}
          aria-label="Graph of the steps"
        >
          <Panel position="bottom-left">
            <Paper withBorder p={2} radius="sm">
              <Group gap={0}>
                <Control label="Zoom in" onClick={() => void flow.zoomIn()}><IconPlus size={15} aria-hidden /></Control>
                <Control label="Zoom out" onClick={() => void flow.zoomOut()}><IconMinus size={15} aria-hidden /></Control>
                <Control label="Show all" onClick={() => { moved.current = false; void flow.fitView({ padding: 0.06, maxZoom: 1 }); }}><IconFocusCentered size={15} aria-hidden /></Control>
                {dags.length > 0 && (
                  <>
                    <Control label="Open all groups" onClick={() => setAll(true)}><IconArrowsMaximize size={15} aria-hidden /></Control>
                    <Control label="Close all groups" onClick={() => setAll(false)}><IconArrowsMinimize size={15} aria-hidden /></Control>
                  </>
                )}
              </Group>
            </Paper>
          </Panel>
          {nodes.length > 25 && <MiniMap pannable zoomable ariaLabel="Map of the whole graph" className={classes.map} nodeColor="var(--kf-edge)" />}
        </ReactFlow>
      </LiveContext.Provider>
    </div>
  );
}

function Control({ label, onClick, children }: { label: string; onClick: () => void; children: React.ReactNode }) {
  return (
    <Tooltip label={label}>
      <ActionIcon size="md" aria-label={label} onClick={onClick}>{children}</ActionIcon>
    </Tooltip>
  );
}
