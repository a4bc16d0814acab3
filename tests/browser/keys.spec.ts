// Access keys as a person uses them: made, shown with their secret, listed as they change, revoked.
import { expect, expectAccessible, expectAccessibleInBoth, fresh, test } from './box';

test('a key is made, shows its secret at once and later, and is revoked', async ({ user, api }) => {
  const name = fresh('key').toLowerCase();
  await user.goto('/buckets');
  await user.getByRole('link', { name: 'Access keys' }).click();
  await expect(user.getByRole('heading', { level: 1, name: 'Access keys' })).toBeVisible();
  // Every namespace has one from the start.
  const own = user.getByRole('row').filter({ hasText: 'mlpipeline-minio-artifact' });
  await expect(own).toContainText('All buckets of the namespace: read and write');
  await expect(own).toContainText('Never');
  await expectAccessibleInBoth(user, 'the access keys');

  await user.getByRole('button', { name: 'Create a key' }).click();
  const form = user.getByRole('dialog', { name: 'Create a key' });
  await expect(form.getByLabel('What it may do there')).toBeDisabled();
  await form.getByLabel('Name').fill('No Good');
  await form.getByRole('button', { name: 'Create' }).click();
  await expect(form.getByRole('alert')).toBeVisible();
  await form.getByLabel('Name').fill(name);
  await form.getByLabel('Buckets').fill('data\nmodels/digits/');
  await form.getByLabel('What it may do there').selectOption('Read');
  await form.getByLabel('Last day').fill('2020-01-31');
  await form.getByRole('button', { name: 'Create' }).click();
  await expect(form.getByRole('alert')).toHaveText('The last day is over.');
  await form.getByLabel('Last day').fill('2099-01-31');
  await form.getByLabel('What it is for').fill('the nightly report');
  await expectAccessibleInBoth(user, 'the form of a key');
  await form.getByRole('button', { name: 'Create' }).click();

  const shown = user.getByRole('dialog', { name: `The key ${name}` });
  await expect(shown.getByLabel('Access key', { exact: true })).toHaveText(`${name}.kubeflow`);
  const secret = await (await api.get(`/api/v1/namespaces/kubeflow/secrets/${name}`)).json() as { data: Record<string, string> };
  const kept = Buffer.from(secret.data.AWS_SECRET_ACCESS_KEY ?? '', 'base64').toString();
  expect(kept).not.toBe('');
  await expect(shown.getByLabel('Secret key', { exact: true })).toHaveText(kept);
  await expect(shown).toContainText(`eval "$(kfbox s3 env --namespace kubeflow --key ${name})"`);
  await expect(shown).toContainText(`export AWS_SECRET_ACCESS_KEY='${kept}'`);
  await expectAccessibleInBoth(user, 'the secret of a key');
  await shown.getByRole('button', { name: 'Close' }).click();

  const row = user.getByRole('row').filter({ hasText: name });
  await expect(row).toContainText('data: read');
  await expect(row).toContainText('models/digits/: read');
  await expect(row).toContainText('2099');
  await expect(row).toContainText('the nightly report');
  await user.getByRole('button', { name: `Show the secret of ${name}` }).click();
  await expect(shown.getByLabel('Secret key', { exact: true })).toHaveText(kept);
  await shown.getByRole('button', { name: 'Close' }).click();

  await user.getByRole('button', { name: `Revoke ${name}` }).click();
  await expectAccessible(user, 'the question before a key is revoked');
  await user.getByRole('button', { name: 'Revoke the key' }).click();
  await expect(row).toHaveCount(0);
  expect((await api.get(`/apis/kfbox.dev/v1alpha1/namespaces/kubeflow/accesskeys/${name}`)).status()).toBe(404);
});

test('keys of another namespace, made and revoked elsewhere, come and go by themselves', async ({ user, api, baseURL }) => {
  const ns = fresh('keys').toLowerCase();
  const headers = { Origin: baseURL ?? '' };
  const keys = `/apis/kfbox.dev/v1alpha1/namespaces/${ns}/accesskeys`;
  expect((await api.post('/api/v1/namespaces', { headers, data: { apiVersion: 'v1', kind: 'Namespace', metadata: { name: ns } } })).ok()).toBe(true);
  await user.goto('/keys');
  await user.getByRole('combobox', { name: 'Namespace' }).selectOption(ns);
  await expect(user).toHaveURL(new RegExp(`/keys\\?ns=${ns}`));
  await expect(user.getByRole('row').filter({ hasText: 'mlpipeline-minio-artifact' })).toBeVisible();
  const made = await api.post(keys, { headers, data: { apiVersion: 'kfbox.dev/v1alpha1', kind: 'AccessKey', metadata: { name: 'old' }, spec: { rules: [{ bucket: 'data', role: 'edit' }], expires: '2020-01-31T12:00:00Z' } } });
  expect(made.ok(), await made.text()).toBe(true);
  const row = user.getByRole('row').filter({ hasText: 'data: read and write' });
  await expect(row).toContainText('Expired');
  expect((await api.delete(`${keys}/old`, { headers })).ok()).toBe(true);
  await expect(row).toHaveCount(0);

  // A Secret of somebody's own has the key's name: it is not shown as the key's.
  const taken = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'taken' }, data: { password: 'eA==' } };
  expect((await api.post(`/api/v1/namespaces/${ns}/secrets`, { headers, data: taken })).ok()).toBe(true);
  await user.getByRole('button', { name: 'Create a key' }).click();
  const form = user.getByRole('dialog', { name: 'Create a key' });
  await form.getByLabel('Name').fill('taken');
  await form.getByRole('button', { name: 'Create' }).click();
  await expect(user.getByRole('dialog', { name: 'The key taken' }).getByRole('alert')).toContainText('is not the key’s');
  expect((await api.delete(`/api/v1/namespaces/${ns}`, { headers })).ok()).toBe(true);
});
