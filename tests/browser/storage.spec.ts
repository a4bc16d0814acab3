// What fills the disk, and a bucket that may hold no more.
import { expect, expectAccessible, fresh, test } from './box';

test('buckets are listed by size, and can be limited', async ({ user, api, baseURL }) => {
  const name = fresh('sized').toLowerCase();
  const put = (path: string, data: string) => api.put(`/s3/kubeflow/${name}${path}`, { headers: { Origin: baseURL ?? '' }, data });
  expect((await put('', '')).ok()).toBe(true);
  expect((await put('/a', 'x'.repeat(2_000_000))).ok()).toBe(true);
  await user.goto('/buckets');
  await user.getByRole('link', { name: 'What fills the disk' }).click();
  await expect(user.getByRole('heading', { level: 1, name: 'Storage' })).toBeVisible();
  await expect(user.getByRole('table', { name: 'Parts of the disk' }).getByRole('row', { name: /artifacts\/blobs/ })).toBeVisible();
  const row = user.getByRole('row', { name: new RegExp(name) });
  await expect(row).toContainText('1.9 MiB');
  await expect(row).toContainText('No limit');
  for (const scheme of ['light', 'dark'] as const) {
    await user.emulateMedia({ colorScheme: scheme });
    await expectAccessible(user, `storage in ${scheme}`);
  }
  await user.getByRole('button', { name: `Limit ${name}` }).click();
  await user.getByRole('dialog').getByLabel('GiB').fill('0.001');
  await user.getByRole('dialog').getByRole('button', { name: 'Save' }).click();
  await expect(row.getByRole('progressbar')).toBeVisible();
  const refused = await put('/b', 'x');
  expect(refused.status()).toBe(403);
  expect(await refused.text()).toContain('raise its quota');
  await user.getByRole('button', { name: `Limit ${name}` }).click();
  await user.getByRole('dialog').getByLabel('GiB').fill('0');
  await user.getByRole('dialog').getByRole('button', { name: 'Save' }).click();
  await expect(row).toContainText('No limit');
  expect((await put('/b', 'x')).ok()).toBe(true);
});
