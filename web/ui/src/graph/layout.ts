// Places nodes and routes edges with ELK. On the main thread: two hundred steps take a fraction of a second,
// and this whole chunk is only loaded with a graph.
import ELK, { type ElkNode } from 'elkjs/lib/elk.bundled.js';
import type { Graph, GraphEdge, GraphNode } from './model';

export const NODE_WIDTH = 212;
export const NODE_HEIGHT = 50;
const HEADER = 46;

export interface Placed {
  nodes: Map<string, { x: number; y: number; width: number; height: number }>;
  edges: Map<string, { x: number; y: number }[]>;
}

const elk = new ELK();

/** What a layout needs to know of a graph. */
export interface Shape extends Pick<Graph, 'direction'> {
  nodes: Pick<GraphNode, 'id' | 'parent' | 'open'>[];
  edges: Pick<GraphEdge, 'id' | 'source' | 'target'>[];
}

export async function layout(graph: Shape): Promise<Placed> {
  const options = (inner: boolean) => ({
    'elk.algorithm': 'layered',
    'elk.direction': inner ? 'DOWN' : graph.direction,
    'elk.edgeRouting': 'ORTHOGONAL',
    // One lane for all edges of a node: two hundred lanes of a fan-out would be a wall.
    'elk.layered.mergeEdges': 'true',
    'elk.json.edgeCoords': 'ROOT',
    'elk.spacing.nodeNode': '22',
    'elk.layered.spacing.nodeNodeBetweenLayers': '40',
    'elk.layered.spacing.edgeNodeBetweenLayers': '16',
    'elk.layered.nodePlacement.strategy': 'NETWORK_SIMPLEX',
    'elk.layered.considerModelOrder.strategy': 'NODES_AND_EDGES',
    'elk.padding': inner ? `[top=${HEADER + 12},left=16,bottom=16,right=16]` : '[top=12,left=12,bottom=12,right=12]',
  });
  const children = (parent: string | undefined): ElkNode[] =>
    graph.nodes
      .filter((node) => node.parent === parent)
      .map((node) =>
        node.open
          ? { id: node.id, layoutOptions: options(true), children: children(node.id), edges: edges(node.id) }
          : { id: node.id, width: NODE_WIDTH, height: NODE_HEIGHT },
      );
  const parentOf = new Map(graph.nodes.map((node) => [node.id, node.parent]));
  const edges = (parent: string | undefined) =>
    graph.edges
      .filter((edge) => parentOf.get(edge.source) === parent)
      .map((edge) => ({ id: edge.id, sources: [edge.source], targets: [edge.target] }));

  const placed = await elk.layout({
    id: '',
    layoutOptions: options(false),
    children: children(undefined),
    edges: edges(undefined),
  });

  const result: Placed = { nodes: new Map(), edges: new Map() };
  const read = (node: ElkNode) => {
    for (const child of node.children ?? []) {
      result.nodes.set(child.id, { x: child.x ?? 0, y: child.y ?? 0, width: child.width ?? 0, height: child.height ?? 0 });
      read(child);
    }
    for (const edge of node.edges ?? []) {
      const section = edge.sections?.[0];
      if (section !== undefined) {
        result.edges.set(edge.id, [section.startPoint, ...(section.bendPoints ?? []), section.endPoint]);
      }
    }
  };
  read(placed);
  return result;
}

/** A polyline with rounded corners, as an SVG path. */
export function roundedPath(points: readonly { x: number; y: number }[], radius = 8): string {
  const [first, ...rest] = points;
  if (first === undefined) return '';
  let path = `M${first.x},${first.y}`;
  let from = first;
  rest.forEach((corner, i) => {
    const to = rest[i + 1];
    if (to === undefined) {
      path += `L${corner.x},${corner.y}`;
      return;
    }
    const before = Math.hypot(corner.x - from.x, corner.y - from.y);
    const after = Math.hypot(to.x - corner.x, to.y - corner.y);
    const r = Math.min(radius, before / 2, after / 2);
    const towards = (p: { x: number; y: number }, length: number) => ({
      x: corner.x + ((p.x - corner.x) * r) / (length || 1),
      y: corner.y + ((p.y - corner.y) * r) / (length || 1),
    });
    const a = towards(from, before);
    const b = towards(to, after);
    path += `L${a.x},${a.y}Q${corner.x},${corner.y} ${b.x},${b.y}`;
    from = corner;
  });
  return path;
}
