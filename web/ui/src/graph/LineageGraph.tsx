// The lineage of one thing, from left to right: every node is a button, edges lie behind them.
import { IconBox, IconChartLine, IconFile, IconGitCommit, IconPlayerPlay, type TablerIcon } from '@tabler/icons-react';
import { useEffect, useState } from 'react';
import { kindWord, type Lineage, type LineageNode, type NodeKind } from '../api/lineage';
import { Loading } from '../components/Page';
import { layout, NODE_HEIGHT, NODE_WIDTH, roundedPath, type Placed } from './layout';
import classes from './LineageGraph.module.css';

const icons: Record<NodeKind, TablerIcon> = { artifact: IconFile, task: IconPlayerPlay, 'tracked-run': IconChartLine, commit: IconGitCommit, 'model-version': IconBox };

interface Props {
  graph: Lineage;
  /** What was asked about. */
  of: string;
  selected?: string;
  onSelect: (id: string) => void;
}

export default function LineageGraph({ graph, of, selected, onSelect }: Props) {
  const [placed, setPlaced] = useState<{ of: Lineage; at: Placed }>();
  useEffect(() => {
    let current = true;
    const shape = {
      direction: 'RIGHT' as const,
      nodes: graph.nodes.map(({ id }) => ({ id, open: false })),
      edges: graph.edges.map(({ from, to }) => ({ id: `${from} ${to}`, source: from, target: to })),
    };
    void layout(shape).then((at) => {
      if (current) setPlaced({ of: graph, at });
    });
    return () => {
      current = false;
    };
  }, [graph]);
  if (placed === undefined) return <Loading what="the graph" />;
  const places = [...placed.at.nodes.values()];
  const width = Math.max(...places.map((p) => p.x + NODE_WIDTH), 0) + 12;
  const height = Math.max(...places.map((p) => p.y + NODE_HEIGHT), 0) + 12;
  return (
    <div className={`kf-card ${classes.frame}`} role="region" aria-label="Lineage" tabIndex={0}>
      <div style={{ position: 'relative', width, height }}>
        <svg width={width} height={height} aria-hidden className={classes.edges}>
          {[...placed.at.edges].map(([id, points]) => <path key={id} d={roundedPath(points)} />)}
        </svg>
        {placed.of.nodes.map((node) => {
          const at = placed.at.nodes.get(node.id);
          return at === undefined ? null : <Card key={node.id} node={node} x={at.x} y={at.y} asked={node.id === of} selected={node.id === selected} onSelect={onSelect} />;
        })}
      </div>
    </div>
  );
}

function Card({ node, x, y, asked, selected, onSelect }: { node: LineageNode; x: number; y: number; asked: boolean; selected: boolean; onSelect: (id: string) => void }) {
  const Icon = icons[node.kind];
  return (
    <button
      type="button"
      className={classes.node}
      style={{ left: x, top: y, width: NODE_WIDTH, height: NODE_HEIGHT }}
      data-kind={node.kind}
      data-asked={asked || undefined}
      aria-pressed={selected}
      aria-label={`${kindWord[node.kind]} ${node.name}`}
      title={node.id}
      onClick={() => onSelect(node.id)}
    >
      <Icon size={16} stroke={1.7} aria-hidden className={classes.icon} />
      <span className={classes.words}>
        <span className={classes.name}>{node.name}</span>
        <span className={classes.kind}>{kindWord[node.kind]}</span>
      </span>
    </button>
  );
}
