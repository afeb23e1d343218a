# The small installation: judging, the page and the API, tools for agents. No torch, nothing is downloaded when it runs.
#
#     docker build -t deepfake .
#     docker run --rm --network none -v "$PWD:/data:ro" deepfake classify.video /data/clip.mp4
#     docker run --rm -p 8000:8000 -e SERVE_TOKEN=$(openssl rand -hex 16) deepfake serve.app --host 0.0.0.0
#
# The build needs this base image and the package index. It was never built where this project is tested.
FROM python:3.11-slim

WORKDIR /app
COPY setup.cfg pyproject.toml constraints.txt README.md LICENSE ./
COPY pipeline pipeline
COPY extract extract
COPY data data
COPY classify classify
COPY reports reports
COPY serve serve
RUN pip install --no-cache-dir -c constraints.txt '.[serve,mcp]' \
 && useradd --create-home judge
USER judge
WORKDIR /home/judge
EXPOSE 8000
ENTRYPOINT ["python", "-m"]
CMD ["classify.video", "--help"]
