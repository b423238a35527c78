# docker build -t buddyproxy .
# docker run -p 127.0.0.1:8080:8080 -v buddyproxy:/data buddyproxy --allow-open --map openai=https://api.openai.com/v1

FROM python:3.11-slim AS build
WORKDIR /source
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY buddyproxy buddyproxy
COPY twisted twisted
RUN python -m pip wheel --no-cache-dir --wheel-dir /wheels .

FROM python:3.11-slim
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    python -m pip install --no-cache-dir --no-index /wheels/*.whl
# Twisted keeps a list of the plugins it found beside them, where only root may write: have it made now, or every start
# makes it again.
RUN python -c "from twisted.plugin import IPlugin, getPlugins; list(getPlugins(IPlugin))"
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /data --shell /usr/sbin/nologin buddyproxy \
    && install --directory --owner=buddyproxy --group=buddyproxy --mode=0700 /data /data/buddyproxy \
    && install --directory /etc/buddyproxy
USER 10001
# The cache is /data/buddyproxy/cache.sqlite, and a buddyproxy.toml mounted into the working directory is the
# configuration.
ENV XDG_CACHE_HOME=/data
VOLUME /data
WORKDIR /etc/buddyproxy
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 \
    CMD ["python", "-c", "from urllib.request import ProxyHandler, build_opener; build_opener(ProxyHandler({})).open('http://127.0.0.1:8080/.buddyproxy/health', timeout=4)"]
# The port has to be open to the container's network, or publishing it leads nowhere. Who else reaches that network is
# not known in here, so nobody is let in unasked: give the configuration a `security.secure_key`, or say `--allow-open`
# where the port is published to 127.0.0.1 alone. In exec form, so that SIGTERM reaches twistd itself.
ENTRYPOINT ["twistd", "--nodaemon", "--pidfile=", "buddyproxy", "--port", "tcp:8080:interface=0.0.0.0"]
