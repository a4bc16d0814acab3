// The registered models of a namespace, whichever client registered them.
import { Badge, Code, Group, Text } from '@mantine/core';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { NAMESPACE } from '../api/hooks';
import { changedAt, useModels, type RegisteredModel } from '../api/models';
import { DataTable, type Column } from '../components/DataTable';
import { NameFilter, StorageFilter } from '../components/filters';
import { Empty, Loading, Page, Problem } from '../components/Page';
import { Age } from '../components/Time';

const route = getRouteApi('/app/models');

export function Models() {
  const search = route.useSearch();
  const ns = search.ns ?? NAMESPACE;
  const navigate = useNavigate({ from: '/models' });
  const { items, error } = useModels(ns);
  const asked = search.q?.toLowerCase();
  const archived = search.archived ?? false;
  const rows = (items ?? []).filter((model) => (model.spec.state === 'ARCHIVED') === archived && (asked === undefined || model.spec.name.toLowerCase().includes(asked)));
  const columns: Column<RegisteredModel>[] = [
    { id: 'name', header: 'Model', sortBy: (model) => model.spec.name, cell: (model) => <Link to="/models/$ns/$name" params={{ ns, name: model.spec.name }} className="kf-link">{model.spec.name}</Link> },
    { id: 'version', header: 'Versions', sortBy: (model) => model.spec.lastVersion, cell: (model) => model.spec.lastVersion, width: 100, align: 'right' },
    { id: 'aliases', header: 'Aliases', cell: (model) => <Group gap={4}>{Object.entries(model.spec.aliases ?? {}).map(([alias, n]) => <Badge key={alias} variant="default" radius="sm" tt="none" fw={500}>@{alias} → {n}</Badge>)}</Group> },
    { id: 'owner', header: 'Owner', sortBy: (model) => model.spec.owner ?? '', cell: (model) => model.spec.owner, width: 140, minor: true },
    { id: 'changed', header: 'Changed', sortBy: (model) => changedAt(model) ?? '', cell: (model) => <Age at={changedAt(model)} />, width: 130 },
  ];
  return (
    <Page title="Models" subtitle={<>The model registry of the namespace {ns}.</>}>
      {error !== null ? <Problem error={error} what="list of models" /> : items === undefined ? <Loading what="models" /> : (
        <>
          <Group gap="sm">
            <NameFilter value={search.q} onChange={(q) => void navigate({ search: (before) => ({ ...before, q, page: undefined }), replace: true })} />
            <StorageFilter archived={archived} onChange={(next) => void navigate({ search: (before) => ({ ...before, archived: next, page: undefined }), replace: true })} />
          </Group>
          <DataTable
            label="Registered models"
            rows={rows}
            columns={columns}
            rowId={(model) => model.metadata.name}
            view={{ sort: search.sort, page: search.page }}
            defaultSort="name"
            onView={(view) => void navigate({ search: (before) => ({ ...before, ...view }), replace: true })}
            empty={
              items.length > 0 ? <Empty title="No model is like this" /> : (
                <Empty title="No models yet">
                  <Text size="sm" c="dimmed">Register one that a run has logged, on the run’s page under <Link to="/tracking" search={{ ns }} className="kf-link" style={{ textDecoration: 'underline' }}>Tracking</Link>, or from Python with <Code>mlflow.register_model</Code> or the <Code>model-registry</Code> client.</Text>
                </Empty>
              )
            }
          />
        </>
      )}
    </Page>
  );
}
