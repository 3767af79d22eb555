# `devenv up` runs the processes of `hashpool up`, each as `hashpool start ROLE`, in order of readiness.
{ pkgs, ... }:

let
  ready = port: {
    http_get = {
      host = "127.0.0.1";
      inherit port;
      path = "/ready";
    };
    initial_delay_seconds = 1;
    period_seconds = 1;
    failure_threshold = 60;
  };
  daemon = role: port: needs: {
    exec = "exec ./hashpool start ${role}";
    process-compose = {
      readiness_probe = ready port;
      availability.restart = "on_failure";
      depends_on = builtins.listToAttrs (
        map (need: {
          name = need;
          value.condition = "process_healthy";
        }) needs
      );
    };
  };
in
{
  packages = [
    pkgs.python311
    pkgs.just
    pkgs.sqlite
  ];

  env.HASHPOOL_PYTHON = "${pkgs.python311}/bin/python3";

  processes = {
    regtest_node = daemon "regtest_node" 9117 [ ];
    mint = daemon "mint" 9111 [ ];
    template_provider = daemon "template_provider" 9114 [ "regtest_node" ];
    pool = daemon "pool" 9108 [ "template_provider" "mint" ];
    proxy = daemon "proxy" 9109 [ "pool" "mint" ];
    translator = daemon "translator" 9110 [ "proxy" ];
    cpu_miner = daemon "cpu_miner" 9118 [ "translator" ];
  };

  # Before the processes start: the packages and the keys, made once and by one.
  tasks."hashpool:keys" = {
    exec = "./hashpool keys init";
    before = [ "devenv:processes:regtest_node" "devenv:processes:mint" ];
  };

  enterShell = "just";
  enterTest = "./hashpool test";
}
