// The kfp SDK prints links of the old Kubeflow UI (`/#/runs/details/<id>`): the path they mean here. Pure.
export function fromOldHash(hash: string): string | undefined {
  const path = hash.replace(/^#/, '').split('?')[0] ?? '';
  const parts = path.split('/').filter((part) => part !== '');
  const [kind, word, id, versionWord, version] = parts;
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
