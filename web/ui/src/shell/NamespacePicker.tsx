// Which namespace the pages of notebooks, jobs, volumes, buckets, keys, data sets, tracking and models show; the URL holds it. Pipelines live in the box's own.
import { Badge, NativeSelect, Tooltip } from '@mantine/core';
import { useNavigate, useRouterState } from '@tanstack/react-router';
import { NAMESPACE } from '../api/hooks';
import { useNamespaces } from '../api/kube';
import classes from './Shell.module.css';

const PLACES = ['/notebooks', '/jobs', '/volumes', '/buckets', '/keys', '/datasets', '/tracking', '/models'] as const;

export function NamespacePicker() {
  const location = useRouterState({ select: (state) => state.location });
  const many = PLACES.find((place) => location.pathname === place || location.pathname.startsWith(`${place}/`));
  if (many === undefined) {
    return (
      <Tooltip label="The namespace of this box">
        <Badge variant="default" size="sm" radius="sm" tt="none" fw={500} className={classes.namespace}>{NAMESPACE}</Badge>
      </Tooltip>
    );
  }
  // Below a place the namespace comes first; `/jobs/new` has it in the search.
  const inPath = /^\/[a-z]+\/([^/]+)\/[^/]+/.exec(location.pathname)?.[1];
  const current = inPath ?? (location.search as { ns?: string }).ns ?? NAMESPACE;
  return <Picker current={current} to={many} />;
}

function Picker({ current, to }: { current: string; to: (typeof PLACES)[number] }) {
  const navigate = useNavigate();
  const names = (useNamespaces().items ?? []).map((each) => each.metadata.name);
  const all = [...new Set([current, NAMESPACE, ...names])].sort();
  return (
    <NativeSelect
      aria-label="Namespace"
      size="xs"
      value={current}
      data={all}
      onChange={(event) => void navigate({ to, search: { ns: event.currentTarget.value } })}
    />
  );
}
