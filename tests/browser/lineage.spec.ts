// From a model to its data and back, as a graph and in words.
import { expect, expectAccessible, fresh, test } from './box';

test('a model leads to the commit that it was made of', async ({ user, api, baseURL }) => {
  const headers = { Origin: baseURL ?? '' };
  const name = fresh('story').toLowerCase();
  const kube = '/apis/kfbox.dev/v1alpha1/namespaces/kubeflow';
  const made = async (path: string, data: object) => {
    const answer = await api.post(path, { headers, data });
    expect(answer.ok(), await answer.text()).toBe(true);
  };
  await made(`${kube}/datasets`, { apiVersion: 'kfbox.dev/v1alpha1', kind: 'Dataset', metadata: { name } });
  await expect(async () => expect((await api.put(`/s3/kubeflow/${name}/main/train.csv`, { headers, data: 'x\n1\n' })).ok()).toBe(true)).toPass();
  await made(`${kube}/datasetcommits`, { apiVersion: 'kfbox.dev/v1alpha1', kind: 'DatasetCommit', metadata: { name }, spec: { dataset: name, message: 'rows' } });
  let uri = '';
  await expect(async () => {
    const commit = (await (await api.get(`${kube}/datasetcommits/${name}`)).json()) as { status?: { uri?: string } };
    uri = commit.status?.uri ?? '';
    expect(uri).not.toBe('');
  }).toPass();
  await made('/mlflow/kubeflow/api/2.0/mlflow/registered-models/create', { name });
  await made('/mlflow/kubeflow/api/2.0/mlflow/model-versions/create', { name, source: `${uri}train.csv` });

  await user.goto('/lineage');
  await expect(user.getByText('What do you want to know of?')).toBeVisible();
  await expectAccessible(user, 'an empty lineage');
  await user.goto(`/models/kubeflow/${name}`);
  await user.getByRole('button', { name: 'Actions on version 1' }).click();
  await user.getByRole('menuitem', { name: 'Lineage' }).click();
  const graph = user.getByRole('region', { name: 'Lineage' });
  await expect(graph.getByRole('button', { name: `Model ${name} 1` })).toBeVisible();
  await expect(graph.getByRole('button', { name: 'Artifact train.csv' })).toBeVisible();
  for (const scheme of ['light', 'dark'] as const) {
    await user.emulateMedia({ colorScheme: scheme });
    await expectAccessible(user, `a lineage in ${scheme}`);
  }
  await graph.getByRole('button', { name: new RegExp(`Commit ${name}@`) }).click();
  await expect(user.getByRole('region', { name: new RegExp(`About ${name}@`) })).toContainText('rows');
  await expect(user.getByRole('table', { name: 'Lineage in words' }).getByRole('row', { name: /Artifact train\.csv.*Commit.*Model/ })).toBeVisible();
  await user.getByText('Comes from', { exact: true }).first().click();
  await expect(graph.getByRole('button')).toHaveCount(3);
  await user.getByRole('link', { name: 'Open the data set' }).click();
  await expect(user.getByRole('heading', { level: 1, name })).toBeVisible();
  await user.goto('/lineage?of=s3://nobody/knows');
  await expect(user.getByRole('alert')).toContainText('There is no such lineage');
});
