// Buckets as a person uses them: made, filled by button and by drop, looked into, emptied, deleted.
import { readFileSync } from 'node:fs';
import { expect, expectAccessible, fresh, test } from './box';

test('a bucket is made, filled, looked into, emptied and deleted', async ({ user }) => {
  const name = fresh('bucket').toLowerCase();
  await user.goto('/buckets');
  await expectAccessible(user, 'the list of buckets');
  await user.getByRole('button', { name: 'Create a bucket' }).click();
  const dialog = user.getByRole('dialog', { name: 'Create a bucket' });
  await dialog.getByLabel('Name').fill('No Good');
  await dialog.getByRole('button', { name: 'Create' }).click();
  await expect(dialog.getByRole('alert')).toBeVisible();
  await dialog.getByLabel('Name').fill(name);
  await dialog.getByRole('button', { name: 'Create' }).click();
  await user.getByRole('link', { name }).click();
  await expect(user.getByRole('heading', { level: 1, name })).toBeVisible();
  await expect(user.getByText('Nothing here yet')).toBeVisible();
  await expectAccessible(user, 'an empty bucket');

  // By the button, with a name that needs care.
  const table = 'name,digit\n"Ada, L.",7\nBob,3\n';
  const chooser = user.waitForEvent('filechooser');
  await user.getByRole('button', { name: 'Upload files' }).first().click();
  await (await chooser).setFiles([
    { name: 'ü 100% (1).csv', mimeType: 'text/csv', buffer: Buffer.from(table) },
    { name: 'notes.txt', mimeType: 'text/plain', buffer: Buffer.from('<b>not bold</b>') },
  ]);
  await expect(user.getByRole('link', { name: 'ü 100% (1).csv' })).toBeVisible();
  await expect(user.getByText('2 files uploaded.')).toBeVisible();
  // By drop.
  const dropped = await user.evaluateHandle(() => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([new Uint8Array([1, 2, 3])], 'dropped.bin'));
    return transfer;
  });
  await user.getByRole('table', { name: 'Objects' }).dispatchEvent('drop', { dataTransfer: dropped });
  await expect(user.getByRole('link', { name: 'dropped.bin' })).toBeVisible();
  await expectAccessible(user, 'a bucket');

  await user.getByRole('link', { name: 'ü 100% (1).csv' }).click();
  const drawer = user.getByRole('dialog');
  await expect(drawer.getByRole('cell', { name: 'Ada, L.' })).toBeVisible();
  await expect(drawer).toContainText(`s3://${name}/ü 100% (1).csv`);
  await expectAccessible(user, 'an object');
  const download = user.waitForEvent('download');
  await drawer.getByRole('link', { name: 'Download' }).click();
  expect(readFileSync(await (await download).path(), 'utf8')).toBe(table);
  await drawer.getByRole('button', { name: 'Close' }).click();
  await user.getByRole('link', { name: 'notes.txt' }).click();
  await expect(drawer.getByLabel('Preview')).toHaveText('<b>not bold</b>');
  await drawer.getByRole('button', { name: 'Close' }).click();
  await user.getByRole('link', { name: 'dropped.bin' }).click();
  await expect(drawer).toContainText('There is no preview');
  await drawer.getByRole('button', { name: 'Close' }).click();

  // What is not empty stays, and says why.
  await user.goto('/buckets');
  await user.getByRole('button', { name: `Delete ${name}` }).click();
  await user.getByRole('button', { name: 'Delete the bucket' }).click();
  await expect(user.getByText(/the bucket holds objects/)).toBeVisible();
  await user.getByRole('link', { name }).click();
  await user.getByRole('checkbox', { name: 'Select all rows of this page' }).check();
  await user.getByRole('toolbar', { name: 'Actions on the selection' }).getByRole('button', { name: 'Delete' }).click();
  await expect(user.getByRole('dialog')).toContainText('Delete 3 objects?');
  await user.getByRole('dialog').getByRole('button', { name: 'Delete', exact: true }).click();
  await expect(user.getByText('Nothing here yet')).toBeVisible();
  await user.goto('/buckets');
  await user.getByRole('button', { name: `Delete ${name}` }).click();
  await user.getByRole('button', { name: 'Delete the bucket' }).click();
  await expect(user.getByRole('link', { name })).toHaveCount(0);
});

test('folders are walked, shown in pages, and deleted with all below', async ({ user, api, baseURL }) => {
  const name = fresh('folders').toLowerCase();
  const put = async (path: string) => {
    const answer = await api.put(`/s3/kubeflow/${name}${path}`, { headers: { Origin: baseURL ?? '' }, data: path === '' ? undefined : 'x' });
    expect(answer.ok(), await answer.text()).toBe(true);
  };
  await put('');
  for (let n = 0; n < 205; n += 1) await put(`/many/${String(n).padStart(3, '0')}`);
  await put('/few/deep/leaf');
  await user.goto(`/buckets/kubeflow/${name}`);
  await user.getByRole('link', { name: 'many/' }).click();
  await expect(user.getByRole('link', { name: '199', exact: true })).toBeVisible();
  await user.getByRole('button', { name: 'Next page' }).click();
  await expect(user.getByRole('link', { name: '204', exact: true })).toBeVisible();
  await expect(user.getByRole('link', { name: '199', exact: true })).toHaveCount(0);
  await user.getByRole('button', { name: 'First page' }).click();
  await expect(user.getByRole('link', { name: '000', exact: true })).toBeVisible();
  await user.getByRole('navigation', { name: 'Folders' }).getByRole('link', { name }).click();
  await user.getByRole('link', { name: 'few/' }).click();
  await user.getByRole('link', { name: 'deep/' }).click();
  await expect(user.getByRole('link', { name: 'leaf' })).toBeVisible();
  await user.goto(`/buckets/kubeflow/${name}`);
  await user.getByRole('checkbox', { name: 'Select all rows of this page' }).check();
  await user.getByRole('toolbar', { name: 'Actions on the selection' }).getByRole('button', { name: 'Delete' }).click();
  await expect(user.getByRole('dialog')).toContainText('Delete 206 objects?');
  await user.getByRole('dialog').getByRole('button', { name: 'Delete', exact: true }).click();
  await expect(user.getByText('Nothing here yet')).toBeVisible();
});

test('a folder of dots leads into no other bucket, and an empty file is shown as one', async ({ user, api, baseURL }) => {
  const [name, other] = [fresh('dots').toLowerCase(), fresh('other').toLowerCase()];
  for (const bucket of [name, other]) expect((await api.put(`/s3/kubeflow/${bucket}`, { headers: { Origin: baseURL ?? '' } })).ok()).toBe(true);
  await user.goto(`/buckets/kubeflow/${name}?prefix=${encodeURIComponent(`../${other}/`)}`);
  const chooser = user.waitForEvent('filechooser');
  await user.getByRole('button', { name: 'Upload files' }).first().click();
  await (await chooser).setFiles([{ name: 'empty.txt', mimeType: 'text/plain', buffer: Buffer.alloc(0) }]);
  await user.getByRole('link', { name: 'empty.txt' }).click();
  await expect(user.getByRole('dialog').getByLabel('Preview')).toHaveText('');
  const inside = async (bucket: string) => (await (await api.get(`/s3/kubeflow/${bucket}?list-type=2`)).text()).match(/<Key>[^<]*/g) ?? [];
  expect(await inside(name)).toEqual([`<Key>../${other}/empty.txt`]);
  expect(await inside(other)).toEqual([]);
});
