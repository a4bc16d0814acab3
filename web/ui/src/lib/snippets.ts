// The commands that "Copy as" offers. KFBOX_TOKEN stands for a token; none is ever put into a snippet.
import type { CreateRunRequest } from '../api/types';

/** One word of a shell's line, whatever it holds. */
export const shellQuote = (text: string) => `'${text.replace(/'/g, `'\\''`)}'`;

export function curlGet(origin: string, path: string): string {
  return `curl -fsS -H "Authorization: Bearer $KFBOX_TOKEN" \\\n  ${shellQuote(origin + path)}`;
}

export function curlPost(origin: string, path: string, body: unknown): string {
  return `curl -fsS -H "Authorization: Bearer $KFBOX_TOKEN" \\\n  -H 'Content-Type: application/json' \\\n  -d ${shellQuote(JSON.stringify(body, null, 2))} \\\n  ${shellQuote(origin + path)}`;
}

const client = (origin: string) =>
  `import os\nimport kfp\n\nclient = kfp.Client(host=${JSON.stringify(origin)}, existing_token=os.environ["KFBOX_TOKEN"])\n`;

/** JSON as Python writes it. */
export function pythonLiteral(value: unknown, indent = ''): string {
  if (value === null || value === undefined) return 'None';
  if (value === true) return 'True';
  if (value === false) return 'False';
  if (typeof value !== 'object') return JSON.stringify(value);
  const inner = `${indent}    `;
  const items = Array.isArray(value)
    ? value.map((item) => inner + pythonLiteral(item, inner))
    : Object.entries(value).map(([key, item]) => `${inner}${JSON.stringify(key)}: ${pythonLiteral(item, inner)}`);
  const [open, close] = Array.isArray(value) ? ['[', ']'] : ['{', '}'];
  return items.length === 0 ? open + close : `${open}\n${items.join(',\n')},\n${indent}${close}`;
}

export function pythonGetRun(origin: string, runId: string): string {
  return `${client(origin)}run = client.get_run(${JSON.stringify(runId)})\nprint(run.state)\n`;
}

export function pythonStartRun(origin: string, request: CreateRunRequest): string {
  const version = request.pipeline_version_reference;
  if (version === undefined) {
    return `${client(origin)}run = client.create_run_from_pipeline_package(\n    "pipeline.yaml",  # this run has no uploaded pipeline: save its YAML from the run's page\n    arguments=${pythonLiteral(request.runtime_config.parameters, '    ')},\n    run_name=${JSON.stringify(request.display_name)},\n)\n`;
  }
  const experiment =
    request.experiment_id === undefined
      ? 'client.get_experiment(experiment_name="Default").experiment_id'
      : JSON.stringify(request.experiment_id);
  return `${client(origin)}run = client.run_pipeline(\n    experiment_id=${experiment},\n    job_name=${JSON.stringify(request.display_name)},\n    pipeline_id=${JSON.stringify(version.pipeline_id)},\n    version_id=${JSON.stringify(version.pipeline_version_id)},\n    params=${pythonLiteral(request.runtime_config.parameters, '    ')},\n)\nclient.wait_for_run_completion(run.run_id, timeout=3600)\n`;
}

/** boto3 and the AWS tools read the endpoint and the key from the environment, where `kfbox s3 env` puts them. */
const s3Client = (ns: string) =>
  `# In the shell, before: eval "$(kfbox s3 env --namespace ${ns})"\nimport boto3\n`;

export function pythonDownload(ns: string, bucket: string, key: string): string {
  const file = key.split('/').pop();
  return `${s3Client(ns)}\ns3 = boto3.client("s3")\ns3.download_file(${JSON.stringify(bucket)}, ${JSON.stringify(key)}, ${JSON.stringify(file === '' ? 'object' : file)})\n`;
}

/** How pandas reads an object. */
export function pythonTable(ns: string, bucket: string, key: string, as: 'csv' | 'tsv' | 'parquet'): string {
  const body = `boto3.client("s3").get_object(Bucket=${JSON.stringify(bucket)}, Key=${JSON.stringify(key)})["Body"]`;
  if (as === 'parquet') return `${s3Client(ns)}import io\nimport pandas as pd\n\nbody = ${body}\ntable = pd.read_parquet(io.BytesIO(body.read()))\nprint(table.head())\n`;
  return `${s3Client(ns)}import pandas as pd\n\nbody = ${body}\ntable = pd.read_csv(body${as === 'tsv' ? ', sep="\\t"' : ''})\nprint(table.head())\n`;
}

/** What the page of a notebook shows and does. */
export function notebookSnippets(origin: string, ns: string, name: string): { label: string; kind: 'curl' | 'kubectl' | 'python'; text: string }[] {
  const path = `/apis/kubeflow.org/v1/namespaces/${ns}/notebooks/${name}`;
  const python = `import os\nimport requests\n\nbox = requests.Session()\nbox.headers["Authorization"] = "Bearer " + os.environ["KFBOX_TOKEN"]\nurl = ${JSON.stringify(origin + path)}\n`;
  const stop = `box.patch(\n    url,\n    headers={"Content-Type": "application/merge-patch+json"},\n    json={"metadata": {"annotations": {"kubeflow-resource-stopped": datetime.now(timezone.utc).isoformat()}}},\n).raise_for_status()\n`;
  return [
    { label: 'kubectl: show it', kind: 'kubectl', text: `kubectl -n ${ns} get notebook ${name} -o yaml` },
    { label: 'kubectl: stop it', kind: 'kubectl', text: `kubectl -n ${ns} annotate --overwrite notebook ${name} kubeflow-resource-stopped="$(date -u +%Y-%m-%dT%H:%M:%SZ)"` },
    { label: 'kubectl: start it', kind: 'kubectl', text: `kubectl -n ${ns} annotate notebook ${name} kubeflow-resource-stopped- kfbox.dev/culled-` },
    { label: 'Python: show it', kind: 'python', text: `${python}print(box.get(url).json()["status"])\n` },
    { label: 'Python: stop it', kind: 'python', text: `from datetime import datetime, timezone\n${python}${stop}` },
    { label: 'curl: show it', kind: 'curl', text: curlGet(origin, path) },
  ];
}
