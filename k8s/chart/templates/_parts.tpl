{{- define "catena.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "catena.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "catena.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "catena.weightsMount" -}}
- name: weights
  mountPath: /weights
  readOnly: true
{{- end }}

{{/* Of a list: path, failures. */}}
{{- define "catena.probe" -}}
httpGet: {path: {{ index . 0 }}, port: http}
periodSeconds: 5
timeoutSeconds: 3
failureThreshold: {{ index . 1 }}
{{- end }}

{{- define "catena.servicePorts" -}}
- name: grpc
  port: 7000
  targetPort: grpc
  appProtocol: kubernetes.io/h2c
{{- end }}

{{/* Of a component. */}}
{{- define "catena.labels" -}}
app.kubernetes.io/name: catena
app.kubernetes.io/component: {{ . }}
{{- end }}

{{- define "catena.egressToDns" -}}
- to:
  - namespaceSelector:
      matchLabels: {kubernetes.io/metadata.name: kube-system}
    podSelector:
      matchLabels: {k8s-app: kube-dns}
  ports:
  - {protocol: UDP, port: 53}
  - {protocol: TCP, port: 53}
{{- end }}

{{- define "catena.fromGateway" -}}
- podSelector:
    matchLabels: {app.kubernetes.io/name: catena, app.kubernetes.io/component: gateway}
{{- end }}
