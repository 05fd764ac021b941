{{/* A role: its Deployment, Service and PodDisruptionBudget. Of a dict: root, name, component, labels,
     replicas, args, cpu, memory, gpus, start (a path), startFailures, mapsWeights, isHeadless, isStage. */}}
{{- define "catena.workload" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .name }}
  labels: {{- toYaml .labels | nindent 4 }}
spec:
  replicas: {{ .replicas }}
  minReadySeconds: 15
  revisionHistoryLimit: 3
  strategy:
    type: RollingUpdate
    rollingUpdate: {maxSurge: 1, maxUnavailable: 0}
  selector:
    matchLabels: {{- toYaml .labels | nindent 6 }}
  template:
    metadata:
      labels: {{- toYaml .labels | nindent 8 }}
    spec:
      serviceAccountName: catena-{{ .component }}
      automountServiceAccountToken: false
      enableServiceLinks: false
      terminationGracePeriodSeconds: 60
      securityContext: {{- include "catena.podSecurity" . | nindent 8 }}
      topologySpreadConstraints:
      - maxSkew: 1
        topologyKey: kubernetes.io/hostname
        whenUnsatisfiable: ScheduleAnyway
        labelSelector:
          matchLabels: {{- toYaml .labels | nindent 12 }}
      {{- if .isStage }}
      affinity:
        podAffinity:
          preferredDuringSchedulingIgnoredDuringExecution:
          - weight: 50
            podAffinityTerm:
              topologyKey: topology.kubernetes.io/zone
              labelSelector:
                matchLabels: {app.kubernetes.io/name: catena}
      {{- end }}
      {{- if .mapsWeights }}
      initContainers:
      - name: await-weights
        image: {{ include "catena.image" .root }}
        command:
        - sh
        - "-c"
        - {{ `until [ -e "$0" ]; do echo "waiting for $0"; sleep 2; done` | quote }}
        - {{ .root.Values.model }}
        resources:
          requests: {cpu: 10m, memory: 16Mi}
          limits: {memory: 64Mi}
        securityContext: {{- include "catena.containerSecurity" . | nindent 10 }}
        volumeMounts: {{- include "catena.weightsMount" . | nindent 8 }}
      {{- end }}
      containers:
      - name: {{ .component }}
        image: {{ include "catena.image" .root }}
        args:
        - {{ .component }}
        {{- range .args }}
        - {{ . | quote }}
        {{- end }}
        {{- if .gpus }}
        - --backend=cuda
        {{- end }}
        - --listen=0.0.0.0:7000
        - --http=0.0.0.0:7080
        - --grace=40
        - --log-format=json
        {{- range .more }}
        - {{ . | quote }}
        {{- end }}
        ports:
        - {name: grpc, containerPort: 7000}
        - {name: http, containerPort: 7080}
        startupProbe: {{- include "catena.probe" (list .start .startFailures) | nindent 10 }}
        readinessProbe: {{- include "catena.probe" (list "/readyz" 2) | nindent 10 }}
        livenessProbe: {{- include "catena.probe" (list "/livez" 3) | nindent 10 }}
        lifecycle:
          preStop:
            sleep: {seconds: 15}
        resources:
          requests: {cpu: {{ .cpu | quote }}, memory: {{ .memory }}}
          limits:
            memory: {{ .memory }}
            {{- if .gpus }}
            nvidia.com/gpu: {{ .gpus }}
            {{- end }}
        securityContext: {{- include "catena.containerSecurity" . | nindent 10 }}
        {{- if .mapsWeights }}
        volumeMounts: {{- include "catena.weightsMount" . | nindent 8 }}
      volumes:
      - name: weights
        persistentVolumeClaim: {claimName: catena-weights}
        {{- end }}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ .name }}
  labels: {{- toYaml .labels | nindent 4 }}
spec:
  {{- if .isHeadless }}
  clusterIP: None
  publishNotReadyAddresses: true
  {{- else }}
  type: ClusterIP
  {{- end }}
  selector: {{- toYaml .labels | nindent 4 }}
  ports: {{- include "catena.servicePorts" . | nindent 2 }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ .name }}
  labels: {{- toYaml .labels | nindent 4 }}
spec:
  maxUnavailable: 1
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels: {{- toYaml .labels | nindent 6 }}
{{- end }}
