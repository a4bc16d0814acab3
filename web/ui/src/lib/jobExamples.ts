// What "create from YAML" starts with: small jobs that run on a box as they are.
const replica = (container: string, script: string, indent: string) =>
  ['template:', '  spec:', '    containers:', `      - name: ${container}`, '        image: python:3.11', '        command: [python, -c]', `        args: ["${script}"]`]
    .map((line) => indent + line)
    .join('\n');
const hello = "import os; print('hello from', os.environ.get('HOSTNAME'))";

export const JOB_EXAMPLES: { name: string; text: string }[] = [
  {
    name: 'PyTorchJob',
    text: `apiVersion: kubeflow.org/v1\nkind: PyTorchJob\nmetadata:\n  name: my-pytorch-job\nspec:\n  pytorchReplicaSpecs:\n    Master:\n      replicas: 1\n      restartPolicy: OnFailure\n${replica('pytorch', hello, '      ')}\n    Worker:\n      replicas: 1\n      restartPolicy: OnFailure\n${replica('pytorch', hello, '      ')}\n`,
  },
  {
    name: 'TFJob',
    text: `apiVersion: kubeflow.org/v1\nkind: TFJob\nmetadata:\n  name: my-tf-job\nspec:\n  tfReplicaSpecs:\n    PS:\n      replicas: 1\n      restartPolicy: Never\n${replica('tensorflow', hello, '      ')}\n    Worker:\n      replicas: 2\n      restartPolicy: Never\n${replica('tensorflow', "import os; print(os.environ['TF_CONFIG'])", '      ')}\n`,
  },
  {
    name: 'TrainJob',
    text: 'apiVersion: trainer.kubeflow.org/v1alpha1\nkind: TrainJob\nmetadata:\n  name: my-train-job\nspec:\n  runtimeRef:\n    name: torch-distributed\n  trainer:\n    numNodes: 2\n    command: [python, -c]\n    args: ["import os; print(\'rank\', os.environ.get(\'PET_NODE_RANK\'))"]\n',
  },
  {
    name: 'Job',
    text: `apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: my-job\nspec:\n  backoffLimit: 2\n  template:\n    spec:\n      restartPolicy: Never\n      containers:\n        - name: main\n          image: python:3.11\n          command: [python, -c]\n          args: ["${hello}"]\n`,
  },
];
