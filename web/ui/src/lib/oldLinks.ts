// The kfp SDK prints links of the old Kubeflow UI (`/#/runs/details/<id>`), MLflow's client those of its own pages
// (`/mlflow/<ns>/#/experiments/<id>/runs/<id>`, which the box leads to `/tracking?ns=<ns>`): the path they mean here. Pure.
export function fromOldHash(hash: string, search = ''): string | undefined {
  const path = hash.replace(/^#/, '').split('?')[0] ?? '';
  const parts = path.split('/').filter((part) => part !== '');
  const [kind, word, id, versionWord, version] = parts;
  const ns = new URLSearchParams(search).get('ns');
  if (ns !== null) return fromMlflow(ns, parts);
  if (kind === 'runs' || kind === 'experiments' || kind === 'pipelines') {
    if (parts.length === 1) return `/${kind}`;
    if (word === 'new' && kind === 'runs') return '/runs/new';
    if (word !== 'details' || id === undefined) return undefined;
    const safe = encodeURIComponent(decodeURIComponent(id));
    if (kind === 'runs') return `/runs/${safe}`;
    if (kind === 'experiments') return `/experiments/${safe}`;
    return versionWord === 'version' && version !== undefined
      ? `/pipelines/${safe}?version=${encodeURIComponent(decodeURIComponent(version))}`
      : `/pipelines/${safe}`;
  }
  return undefined;
}

function fromMlflow(ns: string, [kind, name, below, id]: string[]): string | undefined {
  const safe = (part: string) => encodeURIComponent(decodeURIComponent(part));
  if (kind === 'experiments' && name !== undefined) {
    return below === 'runs' && id !== undefined ? `/tracking/${safe(ns)}/runs/${safe(id)}` : `/tracking/${safe(ns)}/experiments/${safe(name)}`;
  }
  if (kind === 'models' && name !== undefined) return `/models/${safe(ns)}/${safe(name)}`;
  return kind === 'models' ? `/models?ns=${encodeURIComponent(ns)}` : undefined;
}
